import { afterAll, beforeAll, expect, test } from "bun:test";
import { credentials, Client as GrpcClient, type ServiceError } from "@grpc/grpc-js";
import { Status } from "nice-grpc";
import { Client } from "../../src/client/index.ts";
import {
  callHeaders,
  endHeaders,
  endStream,
  frame,
  frameType,
  frameTypes,
  message,
  opening,
  openSocket,
  preface,
  settings,
} from "../../tools/raw-http2.ts";
import { seededRandom } from "../seeded-random.ts";
import { type Serving, serving } from "./serving.ts";
import { dial, failureOf, type Wire } from "./wire.ts";

let server: Serving;
let wire: Wire;
beforeAll(async () => {
  server = await serving();
  wire = dial(server.address);
});
afterAll(async () => {
  wire[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
});

/** Sends bytes, waits for the peer to answer, close, or stay silent, and goes away. */
async function send(bytes: Uint8Array | string): Promise<string> {
  const socket = await openSocket(server.address);
  let answer = "";
  socket.on("data", (chunk) => {
    answer += chunk.toString("latin1");
  });
  socket.write(bytes);
  await Promise.race([new Promise((resolve) => socket.once("close", resolve)), Bun.sleep(150)]);
  socket.destroy();
  return answer;
}

async function expectServing(): Promise<void> {
  using client = new Client(server.address);
  const session = await client.createSession();
  await session.append([1, 2, 3]);
  expect(await Array.fromAsync(session.generate({ maxTokens: 3 }))).toHaveLength(3);
  await session.close();
}

const { data, headers, ping, continuation } = frameType;
const callAppend = frame(headers, endHeaders, 1, callHeaders("/kakeya.v1.RuntimeService/AppendTokens"));
const nothing = new Uint8Array();
const junk = new Uint8Array(100).fill(0xff);

const hostile: Record<string, Uint8Array | string> = {
  "HTTP/1.1": "GET / HTTP/1.1\r\nHost: test\r\n\r\n",
  "a TLS hello": Buffer.from("16030100c8010000c40303", "hex"),
  "half a preface": preface.slice(0, 11),
  "a frame that says it is 16 MB": opening(frame(data, 0, 1, junk, 0xffffff)),
  "a truncated frame": opening(callAppend.subarray(0, 30)),
  "frames of unknown types": opening(frame(99, 255, 0, junk)),
  "data on a stream that was never opened": opening(frame(data, endStream, 7, junk)),
  "headers that are no HPACK": opening(frame(headers, endHeaders | endStream, 1, junk)),
  "a message that is no protobuf": opening(callAppend, frame(data, endStream, 1, message(junk))),
  "a message that says it is 4 GB": opening(callAppend, frame(data, 0, 1, message(junk, 2 ** 32 - 1))),
  "a message that ends too early": opening(callAppend, frame(data, endStream, 1, message(junk, 1000))),
  "a flood of pings": opening(...Array.from({ length: 20_000 }, () => frame(ping, 0, 0, new Uint8Array(8)))),
  "a flood of settings": opening(...Array.from({ length: 20_000 }, () => settings)),
  "a flood of empty headers": opening(
    frame(headers, endStream, 1, callHeaders("/x")),
    ...Array.from({ length: 5000 }, () => frame(continuation, 0, 1, nothing)),
  ),
};

for (const [name, bytes] of Object.entries(hostile)) {
  test(`it serves on after ${name}`, async () => {
    await send(bytes);
    await expectServing();
  });
}

test("it serves on after whatever bytes, with and without a preface", async () => {
  const random = seededRandom(1);
  for (let i = 0; i < 30; i++) {
    const bytes = Buffer.from(
      Array.from({ length: 1 + Math.floor(random() * 4000) }, () => Math.floor(random() * 256)),
    );
    await send(i % 2 === 0 ? bytes : opening(bytes));
  }
  await expectServing();
}, 20_000);

test("an unknown method and an unknown service are UNIMPLEMENTED", async () => {
  const grpc = new GrpcClient("", credentials.createInsecure(), { channelOverride: wire.channel });
  for (const path of ["/kakeya.v1.RuntimeService/Nope", "/nope.Service/AppendTokens", "/", "/x"]) {
    const error = await new Promise<ServiceError | null>((resolve) => {
      const bytes = () => Buffer.alloc(0);
      grpc.makeUnaryRequest(path, bytes, bytes, null, resolve);
    });
    expect(error?.code).toBe(Status.UNIMPLEMENTED);
  }
});

test("headers above 64 KB are refused", async () => {
  for (const length of [70_000, 2 ** 20]) {
    using huge = dial(server.address, { "x-huge": "a".repeat(length) });
    expect(await failureOf(huge.rpc.getRuntimeInfo({}))).toBeDefined();
  }
  await expectServing();
});

test("an append of a million tokens is refused, whether it fits a message or not", async () => {
  const { sessionId } = await wire.rpc.createSession({});
  for (const id of [1, 2 ** 32 - 1]) {
    const failure = await failureOf(wire.rpc.appendTokens({ sessionId, tokenIds: new Array(1_000_000).fill(id) }));
    expect(failure?.status).toBe("RESOURCE_EXHAUSTED");
  }
  expect((await wire.rpc.getSessionInfo({ sessionId })).historyLength).toBe(0n);
  await expectServing();
});

test("max_tokens of 2^32 - 1 streams until its caller goes", async () => {
  using client = new Client(server.address);
  const session = await client.createSession();
  await session.append([1, 2, 3]);
  let ids = 0;
  for await (const _ of session.generate({ maxTokens: 2 ** 32 - 1 })) if (++ids === 200) break;
  expect((await session.info()).historyTokens).toBeGreaterThanOrEqual(203);
  await expectServing();
});

test("hundreds of connections that say nothing leave room for one that does", async () => {
  const silent = await Promise.all(Array.from({ length: 300 }, () => openSocket(server.address)));
  await expectServing();
  for (const socket of silent) socket.destroy();
});

test("a peer that no longer answers is noticed and cut off", async () => {
  await using strict = await serving({ keepaliveS: 0.2, keepaliveTimeoutS: 0.2 });
  const mute = await openSocket(strict.address);
  const halfway = await openSocket(strict.address);
  halfway.write(opening());
  const closed = [mute, halfway].map((socket) => new Promise((resolve) => socket.resume().once("close", resolve)));
  await Promise.all(closed);
  expect((await strict.connect().runtimeInfo()).modelId).toBe("kakeya-tiny");
});

test("streams beyond the limit of one connection are refused, the others served", async () => {
  await using strict = await serving({ maxStreamsPerConnection: 10 });
  const socket = await openSocket(strict.address);
  const received = frameTypes(socket);
  const watch = (stream: number) =>
    Buffer.concat([
      frame(headers, endHeaders, stream, callHeaders("/grpc.health.v1.Health/Watch")),
      frame(data, endStream, stream, message(nothing)),
    ]);
  socket.write(opening(...Array.from({ length: 50 }, (_, i) => watch(2 * i + 1))));
  const count = (type: number) => received.filter((own) => own === type).length;
  while (count(frameType.data) + count(frameType.resetStream) < 50) await Bun.sleep(5);
  expect(count(frameType.data)).toBe(10);
  expect(count(frameType.resetStream)).toBe(40);
  socket.destroy();
});
