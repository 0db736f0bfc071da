/** Calls that no server could take, or whose answer did not arrive: made again, and nothing is done twice. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { once } from "node:events";
import { createServer, connect as dial, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { Client, KakeyaError, Unavailable } from "../../src/client/index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { SqliteStore } from "../../src/state/sqlite-store.ts";
import { eventually } from "../eventually.ts";
import { rejection } from "../rejection.ts";
import { scratchDir } from "../scratch.ts";
import { type Serving, serving, testEngine } from "../serve/serving.ts";

const prompt = Array.from({ length: 40 }, (_, i) => (i * 13) % 500);

/** A way to a server that can be cut at any byte, and leads to another one when it is told so. */
class Way implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  target: string;
  /** Bytes from the server until all is cut, once. */
  cutAfter: number | undefined;

  /** The stream whose answer is replaced by REFUSED_STREAM, once: HAProxy does so when its server dies before answering. */
  refused: number | undefined;

  private constructor(server: Server, target: string) {
    this.#server = server;
    this.target = target;
  }

  static async to(target: string): Promise<Way> {
    const server = createServer();
    const way = new Way(server, target);
    server.on("connection", (near) => way.#join(near));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return way;
  }

  get address(): string {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? `127.0.0.1:${address.port}` : "";
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #join(near: Socket): void {
    const [host, port] = this.target.split(":");
    const far = dial(Number(port), host);
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    near.on("data", (bytes) => far.write(bytes));
    far.on("data", (bytes: Buffer) => {
      if (this.cutAfter !== undefined) {
        this.cutAfter -= bytes.length;
        if (this.cutAfter < 0) {
          this.cutAfter = undefined;
          this.cut();
          return;
        }
      }
      if (this.refused !== undefined && hasHeaders(bytes, this.refused)) {
        near.write(refusal(this.refused));
        setTimeout(() => near.destroy(), 100);
        this.refused = undefined;
      } else near.write(bytes);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.#server.close();
  }
}

/** Whether one of the HTTP/2 frames (RFC 9113, section 4.1) is the HEADERS of a stream. */
function hasHeaders(bytes: Buffer, stream: number): boolean {
  for (let at = 0; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) {
    if (bytes[at + 3] === 1 && bytes.readUInt32BE(at + 5) === stream) return true;
  }
  return false;
}

/** An RST_STREAM with REFUSED_STREAM. */
function refusal(stream: number): Buffer {
  const frame = Buffer.alloc(13);
  frame.writeUIntBE(4, 0, 3);
  frame[3] = 3;
  frame.writeUInt32BE(stream, 5);
  frame.writeUInt32BE(7, 9);
  return frame;
}

let engine: Engine;
let plain: Serving;
let expected: number[];
beforeAll(async () => {
  engine = await testEngine({ capacity: 8 });
  plain = await serving({ engine });
  const session = await plain.connect().createSession();
  await session.append(prompt);
  expected = await Array.fromAsync(session.generate({ maxTokens: 60 }));
  await session.close();
});
afterAll(async () => {
  await plain[Symbol.asyncDispose]();
  await engine.close();
});

async function withState(work: (server: Serving) => Promise<void>): Promise<void> {
  using scratch = scratchDir();
  await using state = await SqliteStore.open({ dir: join(scratch.path, "state"), sync: "normal" });
  await using server = await serving({ engine, state });
  await work(server);
}

test("an answer whose way is cut after any number of bytes arrives whole, each id once", async () => {
  await withState(async (server) => {
    await using way = await Way.to(server.address);
    for (let bytes = 0; bytes < 1200; bytes += 75) {
      using client = new Client(way.address);
      const session = await client.createSession();
      await session.append(prompt);
      way.cutAfter = bytes;
      expect(await Array.fromAsync(session.generate({ maxTokens: 60 }))).toEqual(expected);
      expect(session.lastResult).toMatchObject({ stopReason: "max-tokens", generatedTokens: 60 });
      expect((await session.info()).historyTokens).toBe(100);
      way.cutAfter = undefined;
      expect(await session.close()).toBe(100);
    }
  });
});

test("an append whose answer is lost is not appended twice", async () => {
  await withState(async (server) => {
    await using way = await Way.to(server.address);
    for (let bytes = 0; bytes < 60; bytes += 6) {
      using client = new Client(way.address);
      const session = await client.createSession();
      expect(await session.append(prompt)).toBe(40);
      way.cutAfter = bytes;
      expect(await session.append([1, 2, 3])).toBe(43);
      way.cutAfter = undefined;
      expect(await session.close()).toBe(43);
    }
  });
});

test("creating and closing a session are done once, whatever is lost on the way", async () => {
  await withState(async (server) => {
    const way = await Way.to(server.address);
    await using _ = way;
    const { store } = server.server;
    for (let bytes = 0; bytes < 200; bytes += 20) {
      using client = new Client(way.address);
      way.cutAfter = bytes;
      const session = await client.createSession();
      expect([...store.sessions].map(({ id }) => id)).toEqual([session.id]);
      way.cutAfter = bytes / 4;
      expect(await session.close()).toBe(0);
      way.cutAfter = undefined;
      expect(store.activeCount).toBe(0);
    }
  });
});

test("an answer that a stopping server ends is continued by the next one, bit by bit", async () => {
  using scratch = scratchDir();
  await using state = await SqliteStore.open({ dir: join(scratch.path, "state"), sync: "normal" });
  let server = await serving({ engine, state });
  await using way = await Way.to(server.address);
  using client = new Client(way.address);
  const session = await client.createSession();
  await session.append(prompt);
  const seen: number[] = [];
  for await (const id of session.generate({ maxTokens: 60 })) {
    if (seen.push(id) !== 3) continue;
    await server[Symbol.asyncDispose]();
    server = await serving({ engine, state });
    way.target = server.address;
    way.cut();
  }
  expect(seen).toEqual(expected);
  expect(session.lastResult?.stopReason).toBe("max-tokens");
  await server[Symbol.asyncDispose]();
});

test("a proxy that calls a stream refused, though its server has carried it out, doubles nothing", async () => {
  await withState(async (server) => {
    await using way = await Way.to(server.address);
    using client = new Client(way.address);
    const session = await client.createSession();
    // The connection's second call.
    way.refused = 3;
    expect(await session.append([1, 2, 3])).toBe(3);
    expect(way.refused).toBeUndefined();
    expect((await session.info()).historyTokens).toBe(3);
  });
});

describe("where a repetition could do something twice", () => {
  test("the call fails: the server keeps no ids that tell what an earlier attempt did", async () => {
    await using way = await Way.to(plain.address);
    using client = new Client(way.address);
    const session = await client.createSession();
    await session.append(prompt);
    const answer = session.generate({ maxTokens: 10_000 });
    await answer.next();
    way.cut();
    expect(await rejection(Array.fromAsync(answer))).toBeInstanceOf(KakeyaError);
    await plain.connect().session(session.id).close();
  });

  test("the call fails: the session was picked up by its id, and nobody asked where its history stands", async () => {
    await withState(async (server) => {
      const { id } = await server.connect().createSession();
      await using way = await Way.to(server.address);
      using client = new Client(way.address);
      const session = client.session(id);
      const appending = session.append(new Array(3000).fill(1));
      await eventually("the append", () => [...server.server.store.sessions].some((s) => !s.idle) || undefined);
      way.cut();
      expect(await rejection(appending)).toBeInstanceOf(Unavailable);
    });
  });
});

test("two that use one session don't take each other's ids for their own", async () => {
  await withState(async (server) => {
    const one = await server.connect({ retryS: 5 }).createSession();
    await one.append(prompt);
    const other = server.connect({ retryS: 5 }).session(one.id);
    expect(await other.append([1, 2, 3])).toBe(43);
    const ids = await Array.fromAsync(one.generate({ maxTokens: 5 }));
    expect(ids).not.toEqual([1, 2, 3]);
    expect((await other.info()).historyTokens).toBe(48);
    expect(await one.append([4])).toBe(49);
    expect(await other.append([4])).toBe(50);
  });
});

test("a call fails at once where nobody wants it to be made again", async () => {
  using nowhere = new Client("127.0.0.1:1", { retryS: 0 });
  expect(await rejection(nowhere.createSession())).toBeInstanceOf(Unavailable);
});
