/** What a call may say about itself, and how the server answers when it can't be read. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect } from "node:http2";
import { Channel, ChannelCredentials } from "@grpc/grpc-js";
import fc from "fast-check";
import { createClient } from "nice-grpc";
import { HealthDefinition } from "nice-grpc-server-health";
import { boundedTimeout } from "../../src/grpc/deadline.ts";
import { message } from "../../tools/raw-http2.ts";
import { type Serving, serving } from "./serving.ts";

let server: Serving;
beforeAll(async () => {
  server = await serving();
});
afterAll(() => server[Symbol.asyncDispose]());

/** The status of a call with one request, from its trailers or its only headers. */
async function call(path: string, headers: Record<string, string>, bytes: Uint8Array, address = server.address) {
  const session = connect(`http://${address}`);
  const fixed = { ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" };
  const stream = session.request({ ...fixed, ...headers });
  const answer: Record<string, unknown> = {};
  stream.on("response", (own) => Object.assign(answer, own)).on("trailers", (own) => Object.assign(answer, own));
  stream.resume().end(message(bytes));
  await new Promise((resolve) => stream.once("close", resolve));
  session.destroy();
  return { status: answer["grpc-status"], details: decodeURI(String(answer["grpc-message"])) };
}

test.each(["596H", "597H", "1193H", "99999999H", "35791M", "2147484S", "99999999S", "1000m"])(
  "a call with %s to go is answered",
  async (timeout) => {
    const answer = await call(
      "/kakeya.v1.RuntimeService/GetRuntimeInfo",
      { "grpc-timeout": timeout },
      new Uint8Array(),
    );
    expect(answer.status).toBe("0");
  },
);

test("whatever time a call is given, timers can hold it, and it is not less than asked for unless it must be", () => {
  const ms: Record<string, number> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };
  const inMs = (timeout: string) => Number(timeout.slice(0, -1)) * (ms[timeout.slice(-1)] ?? Number.NaN);
  const given = fc.tuple(fc.integer({ min: 0, max: 99_999_999 }), fc.constantFrom(...Object.keys(ms)));
  fc.assert(
    fc.property(given, ([count, unit]) => {
      const bounded = boundedTimeout(`${count}${unit}`);
      expect(bounded).toMatch(/^\d{1,8}[HMSmun]$/);
      if (inMs(`${count}${unit}`) < 2 ** 31) expect(bounded).toBe(`${count}${unit}`);
      else expect(Math.abs(2 ** 31 - inMs(bounded))).toBeLessThan(1001);
    }),
    { seed: 21 },
  );
});

test.each([
  "/kakeya.v1.RuntimeService/AppendTokens",
  "/grpc.health.v1.Health/Check",
  "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", // a stream, in another library's code
])("a request that is no protobuf is INVALID_ARGUMENT, and logged: %s", async (path) => {
  await using server = await serving(); // one line a minute
  const answer = await call(path, {}, new Uint8Array(100).fill(0xff), server.address);
  expect(answer.status).toBe("3");
  expect(answer.details).toStartWith(`the request is not a message of ${path}: `);
  const warning = server.logged.find((line) => line.includes("request can't be decoded"));
  expect(warning).toMatch(/ warn .*reason=".+" peer="127.0.0.1:\d+"/);
  expect(warning).toContain(` path="${path}" `);
});

test("twenty Watch streams at once are no leak", async () => {
  const warnings: string[] = [];
  const note = ({ message }: Error) => warnings.push(message);
  process.on("warning", note);
  const channel = new Channel(server.address, ChannelCredentials.createInsecure(), {});
  const health = createClient(HealthDefinition, channel);
  const abort = new AbortController();
  const watching = Array.from({ length: 20 }, async () => {
    for await (const { status } of health.watch({ service: "" }, { signal: abort.signal })) return status;
  });
  expect(await Promise.all(watching)).toEqual(new Array(20).fill(1));
  abort.abort();
  channel.close();
  process.off("warning", note);
  expect(warnings).toEqual([]);
});
