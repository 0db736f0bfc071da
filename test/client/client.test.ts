import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  Cancelled,
  Client,
  InvalidArgument,
  InvariantViolation,
  KakeyaError,
  ResourceExhausted,
  SessionClosed,
  SessionNotFound,
  Unavailable,
} from "../../src/client/index.ts";
import { eventually } from "../eventually.ts";
import { rejection } from "../rejection.ts";
import { type Serving, serving } from "../serve/serving.ts";

let server: Serving;
let client: Client;
beforeAll(async () => {
  server = await serving({ maxWaitingCalls: 1 });
  client = server.connect();
});
afterAll(() => server[Symbol.asyncDispose]());

test("a session from its creation to its end", async () => {
  const session = await client.createSession({ eosTokenIds: [2047], label: "a test" });
  expect((await session.info()).lastTokenId).toBeUndefined();
  expect(await session.append(new Set([1, 2, 3]))).toBe(3);
  expect((await session.info()).lastTokenId).toBe(3);
  expect(session.lastResult).toBeUndefined();
  const ids = await Array.fromAsync(session.generate({ maxTokens: 4 }));
  expect(ids).toHaveLength(4);
  expect(session.lastResult).toMatchObject({ stopReason: "max-tokens", generatedTokens: 4, droppedTokens: 0 });
  expect(session.lastResult?.firstTokenS).toBeGreaterThan(0);
  expect(session.lastResult?.totalS).toBeGreaterThan(session.lastResult?.firstTokenS ?? Number.POSITIVE_INFINITY);
  expect(await session.info()).toMatchObject({
    historyTokens: 7,
    generatedTokens: 4,
    computedTokens: 7,
    kvLiveBytes: 7 * 3072,
    kvSlabBytes: server.engine.info.kvSlabBytes,
    lastTokenId: ids.at(-1),
    inv1Violations: 0,
    inv2Violations: 0,
  });
  expect(await session.close()).toBe(7);
});

test("the runtime's information comes as plain numbers", async () => {
  const info = await client.runtimeInfo();
  expect(info).toMatchObject({ modelId: "kakeya-tiny", kvBytesPerToken: 3072, sessionCapacity: 4, exact: true });
  expect(typeof info.residentBytes).toBe("number");
  expect(info.uptimeS).toBeGreaterThan(0);
});

/** What the server knows of a session. */
function ownOf({ id }: { id: string }) {
  return [...server.server.store.sessions].find((own) => own.id === id);
}

describe("how a generation ended", () => {
  test("with an end-of-sequence id", async () => {
    const probe = await client.createSession();
    await probe.append([5, 6, 7]);
    const [eos = 0] = await Array.fromAsync(probe.generate({ maxTokens: 1 }));
    const session = await client.createSession({ eosTokenIds: [eos] });
    await session.append([5, 6, 7]);
    expect(await Array.fromAsync(session.generate({ maxTokens: 50 }))).toEqual([eos]);
    expect(session.lastResult?.stopReason).toBe("eos");
  });

  test("by leaving the loop: cancelled, with the ids that arrived", async () => {
    const session = await client.createSession();
    await session.append([1]);
    let arrived = 0;
    for await (const _ of session.generate({ maxTokens: 1000 })) if (++arrived === 3) break;
    expect(session.lastResult).toMatchObject({ stopReason: "cancelled", generatedTokens: 3, totalS: Number.NaN });
    expect(await session.append([1])).toBeGreaterThanOrEqual(5);
  });

  test("with the number of tokens that the cache no longer held", async () => {
    const session = await client.createSession();
    await session.append(new Array(100).fill(1));
    await Array.fromAsync(session.generate({ maxTokens: 1 }));
    expect(session.lastResult?.droppedTokens).toBe(32);
  });

  test("with an error: no result", async () => {
    const session = await client.createSession();
    await session.append([1]);
    await Array.fromAsync(session.generate({ maxTokens: 1 }));
    await rejection(Array.fromAsync(session.generate({ maxTokens: 1, temperature: -1 })));
    expect(session.lastResult).toBeUndefined();
  });
});

describe("each status has its class", () => {
  async function caught(promise: Promise<unknown>): Promise<Error> {
    const error = await rejection(promise);
    expect(error).toBeInstanceOf(KakeyaError);
    expect(error.name).toBe(error.constructor.name);
    return error;
  }

  test("SessionNotFound, for a session of nobody", async () => {
    const error = await caught(client.session("nope").info());
    expect(error).toBeInstanceOf(SessionNotFound);
    expect(error.message).toContain('no session "nope"');
  });

  test("SessionClosed, for an object that closed it itself", async () => {
    const session = await client.createSession();
    await session.close();
    for (const call of [
      session.append([1]),
      session.info(),
      session.close(),
      session.generate({ maxTokens: 1 }).next(),
    ]) {
      expect(await caught(call)).toBeInstanceOf(SessionClosed);
    }
  });

  test("InvalidArgument, from the server or before anything is sent", async () => {
    const session = await client.createSession();
    expect((await caught(session.append([2048]))).message).toContain("token_ids[0] is 2048");
    for (const [call, message] of [
      [session.append([1, -1]), "tokenIds[1] is -1"],
      [session.append([1.5]), "tokenIds[0] is 1.5"],
      [session.append([2 ** 32]), "tokenIds[0] is 4294967296"],
      [client.createSession({ eosTokenIds: [Number.NaN] }), "eosTokenIds[0] is NaN"],
      [session.generate({ maxTokens: 0.5 }).next(), "maxTokens is 0.5"],
      [session.generate({ maxTokens: 1, topK: -3 }).next(), "topK is -3"],
      [session.generate({ maxTokens: 1, seed: -1n }).next(), "seed is -1"],
      [session.generate({ maxTokens: 1, seed: 2n ** 64n }).next(), "seed is 18446744073709551616"],
      [session.generate({ maxTokens: 1, seed: 0.1 }).next(), "seed is 0.1"],
    ] as const) {
      const error = await caught(call);
      expect(error).toBeInstanceOf(InvalidArgument);
      expect(error.message).toContain(message);
    }
    expect((await session.info()).historyTokens).toBe(0);
  });

  test("ResourceExhausted, when too many calls wait", async () => {
    const session = await client.createSession();
    await session.append([1]);
    const running = session.generate({ maxTokens: 10_000 });
    await running.next();
    const waiting = session.append([1]);
    await eventually("a call that waits", () => server.server.store.queueDepth > 0 || undefined);
    expect(await caught(session.append([1]))).toBeInstanceOf(ResourceExhausted);
    await running.return();
    await waiting;
  });

  test("InvariantViolation, when the cache is corrupt", async () => {
    const session = await client.createSession();
    await session.append([1, 2, 3]);
    await server.engine.corrupt(ownOf(session)?.sequence ?? 0);
    const error = await caught(session.append([4]));
    expect(error).toBeInstanceOf(InvariantViolation);
    expect(error.message).toContain("INV-1 violated");
    expect(await caught(session.info())).toBeInstanceOf(SessionNotFound);
  });

  test("Unavailable, when nobody listens", async () => {
    using nowhere = new Client("127.0.0.1:1");
    expect(await caught(nowhere.runtimeInfo())).toBeInstanceOf(Unavailable);
  });

  test("Cancelled, when the signal aborts before or during a call, or the client closes", async () => {
    const signal = AbortSignal.abort();
    const session = await client.createSession();
    for (const call of [
      client.createSession({ signal }),
      client.runtimeInfo({ signal }),
      session.append([1], { signal }),
      session.info({ signal }),
      session.close({ signal }),
      session.generate({ maxTokens: 1, signal }).next(),
    ]) {
      expect(await caught(call)).toBeInstanceOf(Cancelled);
    }
    const abort = new AbortController();
    const appending = caught(session.append(new Array(5000).fill(1), { signal: abort.signal }));
    await eventually("the append's start", () => ownOf(session)?.idle === false || undefined);
    abort.abort();
    expect(await appending).toBeInstanceOf(Cancelled);
    const closing = server.connect();
    closing.close();
    expect(await caught(closing.runtimeInfo())).toBeInstanceOf(Cancelled);
  });
});

test("a session can be picked up by its id from another connection", async () => {
  const session = await client.createSession();
  await session.append([1, 2]);
  expect(await server.connect().session(session.id).append([3])).toBe(3);
});

test("closing a client leaves its sessions on the server", async () => {
  const other = server.connect();
  const { id } = await other.createSession();
  other[Symbol.dispose]();
  expect((await client.session(id).info()).historyTokens).toBe(0);
});

test("calls don't hold on to their signal", async () => {
  const abort = new AbortController();
  let listeners = 0;
  const { signal } = abort;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    listeners++;
    add(...args);
  };
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    listeners--;
    remove(...args);
  };
  for (let i = 0; i < 20; i++) await client.runtimeInfo({ signal });
  const session = await client.createSession({ signal });
  await session.append([1], { signal });
  await Array.fromAsync(session.generate({ maxTokens: 2, signal }));
  expect(listeners).toBe(0);
});
