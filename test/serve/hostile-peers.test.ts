/** Peers that take what they can: descriptors, memory, time. Each at a server of its own. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type ClientHttp2Session, type ClientHttp2Stream, connect, type IncomingHttpHeaders } from "node:http2";
import { connect as connectSocket } from "node:net";
import type { Engine } from "../../src/engine/engine.ts";
import type { ServerOptions } from "../../src/host/options.ts";
import { callHeaders, endHeaders, frame, frameType, opening, openSocket, uint32 } from "../../tools/raw-http2.ts";
import { type Serving, serving, testEngine } from "./serving.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await testEngine();
});
afterAll(() => engine.close());

const serve = (options: Partial<ServerOptions> = {}) => serving({ engine, ...options });
const appendTokens = "/kakeya.v1.RuntimeService/AppendTokens";

/** A sample of the server's own metrics, summed over its labels. */
async function sample({ server }: Serving, name: string): Promise<number> {
  const metric = await server.metrics.registry.getSingleMetric(name)?.get();
  return (metric?.values ?? []).reduce((sum, { value }) => sum + value, 0);
}

async function until(fact: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await fact())) await Bun.sleep(5);
}

function dialHttp2({ address }: Serving): ClientHttp2Session & Disposable {
  const session = connect(`http://${address}`);
  session.on("error", () => {});
  return Object.assign(session, { [Symbol.dispose]: () => session.destroy() });
}

/** A call whose message has not ended; its status, once it has one. */
function begin(session: ClientHttp2Session, headers: Record<string, string>, bytes?: Uint8Array) {
  const fixed = { ":method": "POST", ":path": appendTokens, "content-type": "application/grpc", te: "trailers" };
  const stream: ClientHttp2Stream = session.request({ ...fixed, ...headers }, { endStream: false });
  const status = new Promise<string>((resolve) => {
    const look = (answer: IncomingHttpHeaders) => {
      const code = answer["grpc-status"];
      if (typeof code === "string") resolve(code);
    };
    stream.on("response", look).on("trailers", look);
    stream.on("error", () => {}).on("close", () => resolve("closed"));
  });
  stream.resume();
  if (bytes !== undefined) stream.write(bytes);
  return { stream, status };
}

/** A message that is one byte short of what it says. */
const shortMessage = (length: number) => Buffer.concat([Buffer.from([0]), uint32(length), Buffer.alloc(length - 1)]);

describe("the token is looked at", () => {
  test("as soon as the headers are there: nobody waits for a message that may never end", async () => {
    await using server = await serve({ token: "s3cret" });
    using session = dialHttp2(server);
    expect(await begin(session, {}).status).toBe("16");
    expect(await begin(session, { authorization: "Bearer wr0ng" }).status).toBe("16");
    expect(await begin(session, { ":path": "/made.up/Method" }).status).toBe("16");
  }, 20_000);

  test("and refusals are logged, once for many, without the token", async () => {
    await using server = await serve({ token: "s3cret" });
    using session = dialHttp2(server);
    for (let i = 0; i < 50; i++) await begin(session, { authorization: `Bearer wr0ng-${i}` }).status;
    const warnings = server.logged.filter((line) => line.includes(" warn "));
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/call refused method="AppendTokens" .*peer="127.0.0.1:\d+" reason="wrong token"/);
    expect(server.logged.join()).not.toContain("wr0ng");
  }, 20_000);
});

describe("requests that don't end", () => {
  const maxRequestBytes = 64 * 1024;
  const perConnection = 8 * maxRequestBytes;

  test("hold no more than eight of the largest on one connection; small ones beside them are served", async () => {
    await using server = await serve({ maxRequestBytes });
    using session = dialHttp2(server);
    const calls = Array.from({ length: 30 }, () => begin(session, {}, shortMessage(maxRequestBytes)));
    const refused = () => server.logged.some((line) => line.includes("too many bytes of unfinished requests"));
    await until(refused);
    expect(await Promise.race(calls.map(({ status }) => status))).toBe("8");
    expect(await sample(server, "kakeya_unfinished_request_bytes")).toBeLessThanOrEqual(perConnection);
    const probe = begin(session, { ":path": "/kakeya.v1.RuntimeService/GetRuntimeInfo" }, Buffer.alloc(5));
    probe.stream.end();
    expect(await probe.status).toBe("0");
    session.destroy();
    await until(async () => (await sample(server, "kakeya_unfinished_request_bytes")) === 0);
  }, 20_000);

  test("nor more than sixteen on all connections", async () => {
    await using server = await serve({ maxRequestBytes });
    const sessions = Array.from({ length: 4 }, () => dialHttp2(server));
    const calls = sessions.flatMap((session) =>
      Array.from({ length: 7 }, () => begin(session, {}, shortMessage(maxRequestBytes))),
    );
    // 4 x 7 are within the limit of each connection.
    expect(await Promise.race(calls.map(({ status }) => status))).toBe("8");
    expect(await sample(server, "kakeya_unfinished_request_bytes")).toBeLessThanOrEqual(2 * perConnection);
    expect((await server.connect().runtimeInfo()).modelId).toBe("kakeya-tiny");
    for (const session of sessions) session.destroy();
  }, 20_000);
});

describe("connections", () => {
  test("that say nothing make room for one that does, and one that was let in stays", async () => {
    await using server = await serve({ maxConnections: 8 });
    const early = server.connect();
    const session = await early.createSession();
    const silent = await Promise.all(Array.from({ length: 20 }, () => openSocket(server.address)));
    const ended = silent.map((socket) => new Promise((resolve) => socket.resume().once("close", resolve)));
    expect((await server.connect().runtimeInfo()).modelId).toBe("kakeya-tiny");
    await Promise.race(ended);
    expect(await session.append([1, 2, 3])).toBe(3);
    expect(server.server.connections.count).toBeLessThanOrEqual(8);
    expect(server.server.connections.turnedAway).toBeGreaterThanOrEqual(13);
    expect(server.logged.filter((line) => line.includes("too many connections"))).toHaveLength(1);
    for (const socket of silent) socket.destroy();
  }, 20_000);

  test("that have all been let in stay, and the next one is closed", async () => {
    await using server = await serve({ maxConnections: 3 });
    for (let i = 0; i < 3; i++) await server.connect().runtimeInfo();
    const fourth = await openSocket(server.address);
    await new Promise((resolve) => fourth.resume().once("close", resolve));
    expect(server.server.connections.count).toBe(3);
  }, 20_000);

  test("that the server has closed are gone, though the peer never closes its side", async () => {
    await using server = await serve({ keepaliveS: 0.2, keepaliveTimeoutS: 0.2 });
    const port = Number(server.address.split(":")[1]);
    const deaf = connectSocket({ host: "127.0.0.1", port, allowHalfOpen: true });
    deaf.on("error", () => {}).resume();
    deaf.write(opening());
    await until(() => server.server.connections.count === 1);
    await new Promise((resolve) => deaf.once("end", resolve));
    await until(() => server.server.connections.count === 0);
    deaf.destroy();
  }, 20_000);
});

describe("resets", () => {
  const resetCalls = (count: number) =>
    Array.from({ length: count }, (_, i) =>
      Buffer.concat([
        frame(frameType.headers, endHeaders, 2 * i + 1, callHeaders(appendTokens)),
        frame(frameType.resetStream, 0, 2 * i + 1, uint32(8)),
      ]),
    );

  test("in a burst end their connection before they have cost much; another one is served", async () => {
    await using server = await serve();
    const client = server.connect();
    const session = await client.createSession();
    const socket = await openSocket(server.address);
    const ended = new Promise((resolve) => socket.resume().once("close", resolve));
    socket.write(opening(...resetCalls(20_000)));
    await ended;
    expect(server.logged.filter((line) => line.includes("it reset too many calls"))).toHaveLength(1);
    // Of 20,000. Those that wait for their turn are reset before it comes.
    expect(await sample(server, "grpc_server_started_total")).toBeLessThan(1000);
    expect(await session.append([1, 2, 3])).toBe(3);
  }, 20_000);

  test("of many connections are counted together", async () => {
    await using server = await serve();
    const sockets = await Promise.all(Array.from({ length: 8 }, () => openSocket(server.address)));
    const ended = sockets.map((socket) => new Promise((resolve) => socket.resume().once("close", resolve)));
    // Fewer than one alone may have.
    for (const socket of sockets) socket.write(opening(...resetCalls(400)));
    await Promise.race(ended);
    expect((await server.connect().runtimeInfo()).modelId).toBe("kakeya-tiny");
    for (const socket of sockets) socket.destroy();
  }, 20_000);

  test("of a client that cancels as many calls as it may have open harm it in no way", async () => {
    await using server = await serve();
    const client = server.connect();
    const session = await client.createSession();
    await session.append([1]);
    const abort = new AbortController();
    const waiting = Array.from({ length: 250 }, () => client.runtimeInfo({ signal: abort.signal }));
    abort.abort();
    await Promise.allSettled(waiting);
    expect(await session.append([2])).toBe(2);
    expect(server.logged.join()).not.toContain("reset too many");
  }, 20_000);
});
