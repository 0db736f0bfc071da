import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { credentials, Client as GrpcClient, type ServiceError } from "@grpc/grpc-js";
import { Status } from "nice-grpc";
import { Client } from "../../src/client/index.ts";
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

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

const settings = frame(4, 0, 0, new Uint8Array());

/** HPACK: a literal header without indexing, with a new name. */
function header(name: string, value: string): Buffer {
  const string = (text: string) => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]);
  return Buffer.concat([Buffer.from([0]), string(name), string(value)]);
}

const requestHeaders = (path: string) =>
  Buffer.concat([
    header(":method", "POST"),
    header(":scheme", "http"),
    header(":path", path),
    header(":authority", "test"),
    header("content-type", "application/grpc"),
    header("te", "trailers"),
  ]);

async function openSocket(address = server.address): Promise<Socket> {
  const socket = connect(Number(address.split(":")[1]), "127.0.0.1");
  socket.on("error", () => {});
  await new Promise((resolve) => socket.once("connect", resolve));
  return socket;
}

/** Sends bytes, waits for the peer to answer, close, or stay silent, and goes away. */
async function send(bytes: Uint8Array | string): Promise<string> {
  const socket = await openSocket();
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

const appendPath = "/kakeya.v1.RuntimeService/AppendTokens";
const message = (bytes: Uint8Array, length = bytes.length) => {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, bytes]);
};

const hostile: Record<string, () => Uint8Array | string> = {
  "HTTP/1.1": () => "GET / HTTP/1.1\r\nHost: test\r\n\r\n",
  "a TLS hello": () => Buffer.from("16030100c8010000c40303", "hex"),
  "half a preface": () => preface.slice(0, 11),
  "a frame that says it is 16 MB": () =>
    Buffer.concat([Buffer.from(preface), Buffer.from("ffffff0000000000 01".replace(" ", ""), "hex")]),
  "a truncated frame": () =>
    Buffer.concat([Buffer.from(preface), settings, frame(1, 4, 1, requestHeaders(appendPath)).subarray(0, 30)]),
  "frames of unknown types": () =>
    Buffer.concat([Buffer.from(preface), settings, frame(99, 255, 0, new Uint8Array(10))]),
  "data on a stream that was never opened": () =>
    Buffer.concat([Buffer.from(preface), settings, frame(0, 1, 7, new Uint8Array(10))]),
  "headers that are no HPACK": () =>
    Buffer.concat([Buffer.from(preface), settings, frame(1, 5, 1, new Uint8Array(50).fill(0xff))]),
  "a message that is no protobuf": () =>
    Buffer.concat([
      Buffer.from(preface),
      settings,
      frame(1, 4, 1, requestHeaders(appendPath)),
      frame(0, 1, 1, message(new Uint8Array(100).fill(0xff))),
    ]),
  "a message that says it is 4 GB": () =>
    Buffer.concat([
      Buffer.from(preface),
      settings,
      frame(1, 4, 1, requestHeaders(appendPath)),
      frame(0, 0, 1, message(new Uint8Array(10), 2 ** 32 - 1)),
    ]),
  "a message that ends too early": () =>
    Buffer.concat([
      Buffer.from(preface),
      settings,
      frame(1, 4, 1, requestHeaders(appendPath)),
      frame(0, 1, 1, message(new Uint8Array(10), 1000)),
    ]),
  "a flood of pings": () =>
    Buffer.concat([
      Buffer.from(preface),
      settings,
      ...Array.from({ length: 20_000 }, () => frame(6, 0, 0, new Uint8Array(8))),
    ]),
  "a flood of settings": () => Buffer.concat([Buffer.from(preface), ...Array.from({ length: 20_000 }, () => settings)]),
  "a flood of empty headers": () =>
    Buffer.concat([
      Buffer.from(preface),
      settings,
      frame(1, 1, 1, requestHeaders(appendPath)),
      ...Array.from({ length: 5000 }, () => frame(9, 0, 1, new Uint8Array())),
    ]),
};

for (const [name, bytes] of Object.entries(hostile)) {
  test(`it serves on after ${name}`, async () => {
    await send(bytes());
    await expectServing();
  });
}

test("it serves on after whatever bytes, with and without a preface", async () => {
  const random = seededRandom(1);
  for (let i = 0; i < 30; i++) {
    const bytes = Buffer.from(
      Array.from({ length: 1 + Math.floor(random() * 4000) }, () => Math.floor(random() * 256)),
    );
    await send(i % 2 === 0 ? bytes : Buffer.concat([Buffer.from(preface), settings, bytes]));
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

test("headers of a megabyte are refused", async () => {
  const huge = dial(server.address, { "x-huge": "a".repeat(2 ** 20) });
  expect(await failureOf(huge.rpc.getRuntimeInfo({}))).toBeDefined();
  huge[Symbol.dispose]();
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
  const silent = await Promise.all(Array.from({ length: 300 }, () => openSocket()));
  await expectServing();
  for (const socket of silent) socket.destroy();
});

test("a peer that no longer answers is noticed, its stream ends and its session is free", async () => {
  await using strict = await serving({ keepaliveS: 0.2, keepaliveTimeoutS: 0.2 });
  const vanished = [await openSocket(strict.address), await openSocket(strict.address)] as const;
  vanished[1].write(Buffer.concat([Buffer.from(preface), settings]));
  const closed = vanished.map((socket) => new Promise((resolve) => socket.once("close", resolve)));
  await Promise.all(closed);
  expect((await strict.connect().runtimeInfo()).modelId).toBe("kakeya-tiny");
});
