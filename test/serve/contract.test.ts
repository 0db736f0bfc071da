import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { Metadata } from "nice-grpc";
import { GenerateDone_StopReason as StopReason } from "../../src/gen/kakeya/v1/runtime.ts";
import { rejection } from "../rejection.ts";
import { type Serving, serving } from "./serving.ts";
import { dial, failureOf, statusOf, stream, type Wire } from "./wire.ts";

let server: Serving;
let wire: Wire;
beforeAll(async () => {
  server = await serving({ maxAppendTokens: 1000 });
  wire = dial(server.address);
});
afterAll(async () => {
  wire[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
});

const cacheTokens = 68;
const kvBytesPerToken = 3072n;

async function sessionWith(tokenIds: number[], eosTokenIds: number[] = []): Promise<string> {
  const { sessionId } = await wire.rpc.createSession({ eosTokenIds });
  await wire.rpc.appendTokens({ sessionId, tokenIds });
  return sessionId;
}

describe("a session's life", () => {
  test("ids are unguessable: 192 random bits, never the same", async () => {
    const ids = await Promise.all(Array.from({ length: 4 }, () => wire.rpc.createSession({})));
    for (const { sessionId } of ids) expect(sessionId).toMatch(/^[\w-]{32}$/);
    expect(new Set(ids.map(({ sessionId }) => sessionId)).size).toBe(4);
  });

  test("a client may choose its id, and it comes back in the metadata, too", async () => {
    const chosen = randomBytes(24).toString("base64url");
    const metadata = new Metadata({ "kakeya-session": chosen });
    const headers: (string | undefined)[] = [];
    const onHeader = (header: Metadata) => headers.push(header.get("kakeya-session"));
    expect(await wire.rpc.createSession({}, { metadata, onHeader })).toEqual({ sessionId: chosen });
    await wire.rpc.appendTokens({ sessionId: chosen, tokenIds: [1] });
    const { sessionId: fork } = await wire.rpc.forkSession({ sessionId: chosen }, { onHeader });
    expect(headers).toEqual([chosen, fork]);
    expect(await statusOf(wire.rpc.createSession({}, { metadata }))).toBe("ALREADY_EXISTS");
    const both = { metadata: new Metadata({ "kakeya-session": randomBytes(24).toString("base64url") }) };
    const racing = [wire.rpc.createSession({}, both), wire.rpc.createSession({}, both)].map(statusOf);
    expect((await Promise.all(racing)).toSorted()).toEqual(["ALREADY_EXISTS", "OK"]);
    const short = { metadata: new Metadata({ "kakeya-session": "session-1" }) };
    expect(await failureOf(wire.rpc.createSession({}, short))).toEqual({
      status: "INVALID_ARGUMENT",
      details: expect.stringContaining('kakeya-session is "session-1"'),
    });
  });

  test("a call at a position that is not the history's end is refused", async () => {
    const sessionId = await sessionWith([1, 2, 3]);
    for (const at of [2n, 4n]) {
      const resume = false;
      expect(await statusOf(wire.rpc.appendTokens({ sessionId, tokenIds: [3], at, resume }))).toBe("ABORTED");
      expect(await statusOf(stream(wire.rpc, { sessionId, maxTokens: 5, at }))).toBe("ABORTED");
      // Without --state nobody knows what came after position 2.
      expect(await statusOf(stream(wire.rpc, { sessionId, maxTokens: 5, at, resume: true }))).toBe("ABORTED");
    }
    expect(await wire.rpc.appendTokens({ sessionId, tokenIds: [4], at: 3n })).toEqual({ historyLength: 4n });
    expect(await stream(wire.rpc, { sessionId, maxTokens: 5, at: 4n })).toHaveLength(6);
  });

  test("appending answers with the history's length, also for nothing", async () => {
    const { sessionId } = await wire.rpc.createSession({});
    expect(await wire.rpc.appendTokens({ sessionId, tokenIds: [1, 2, 3] })).toEqual({ historyLength: 3n });
    expect(await wire.rpc.appendTokens({ sessionId, tokenIds: [] })).toEqual({ historyLength: 3n });
    expect(await wire.rpc.appendTokens({ sessionId, tokenIds: [4] })).toEqual({ historyLength: 4n });
  });

  test("its information counts history, live rows and every computed token", async () => {
    const sessionId = await sessionWith(Array.from({ length: 100 }, (_, i) => i));
    await stream(wire.rpc, { sessionId, maxTokens: 7 });
    const info = await wire.rpc.getSessionInfo({ sessionId });
    expect(info).toMatchObject({
      historyLength: 107n,
      kvLiveBytes: BigInt(cacheTokens) * kvBytesPerToken,
      kvSlabBytes: BigInt(server.engine.info.kvSlabBytes),
      computedTokenTotal: 107n,
      generatedTokenTotal: 7n,
      cacheInvariantInv1Violations: 0n,
      cacheInvariantInv2Violations: 0n,
    });
    const later = await wire.rpc.getSessionInfo({ sessionId });
    expect(later.idleSeconds).toBeGreaterThan(info.idleSeconds);
  });

  test("live bytes are those of the history until the cache is full", async () => {
    const { sessionId } = await wire.rpc.createSession({});
    for (let length = 1; length <= 90; length++) {
      await wire.rpc.appendTokens({ sessionId, tokenIds: [length] });
      const { kvLiveBytes } = await wire.rpc.getSessionInfo({ sessionId });
      expect(kvLiveBytes).toBe(BigInt(Math.min(length, cacheTokens)) * kvBytesPerToken);
    }
  });

  test("closing answers with the final length, and the session is gone", async () => {
    const sessionId = await sessionWith([1, 2, 3]);
    expect(await wire.rpc.closeSession({ sessionId })).toEqual({ finalHistoryLength: 3n });
    expect(await statusOf(wire.rpc.getSessionInfo({ sessionId }))).toBe("NOT_FOUND");
    expect(await statusOf(wire.rpc.appendTokens({ sessionId, tokenIds: [1] }))).toBe("NOT_FOUND");
    expect(await statusOf(stream(wire.rpc, { sessionId, maxTokens: 1 }))).toBe("NOT_FOUND");
    expect(await statusOf(wire.rpc.closeSession({ sessionId }))).toBe("NOT_FOUND");
  });
});

describe("the order of a stream", () => {
  test("ids, then exactly one done, while the cache holds the whole history", async () => {
    const sessionId = await sessionWith(Array.from({ length: cacheTokens }, (_, i) => i));
    const said = await stream(wire.rpc, { sessionId, maxTokens: 3 });
    expect(said.map(({ $case }) => $case)).toEqual(["tokenId", "tokenId", "tokenId", "done"]);
    expect(said.at(-1)?.value).toMatchObject({ stopReason: StopReason.STOP_REASON_MAX_TOKENS, generatedTokenCount: 3 });
  });

  test("truncated comes first, once, as soon as one token has left the cache", async () => {
    const sessionId = await sessionWith(Array.from({ length: cacheTokens + 1 }, (_, i) => i));
    const said = await stream(wire.rpc, { sessionId, maxTokens: 2 });
    expect(said.map(({ $case }) => $case)).toEqual(["truncated", "tokenId", "tokenId", "done"]);
    expect(said[0]?.value).toEqual({ droppedTokenCount: 1n });
    expect((await stream(wire.rpc, { sessionId, maxTokens: 1 }))[0]?.value).toEqual({ droppedTokenCount: 3n });
  });

  test("an end-of-sequence id is sent, is part of the history, and ends the stream", async () => {
    const tokenIds = [5, 6, 7, 8];
    const [first] = await stream(wire.rpc, { sessionId: await sessionWith(tokenIds), maxTokens: 1 });
    const eos = Number(first?.value);
    const sessionId = await sessionWith(tokenIds, [eos]);
    const said = await stream(wire.rpc, { sessionId, maxTokens: 20 });
    expect(said[0]).toEqual({ $case: "tokenId", value: eos });
    expect(said[1]?.value).toMatchObject({ stopReason: StopReason.STOP_REASON_EOS, generatedTokenCount: 1 });
    expect(said).toHaveLength(2);
    expect((await wire.rpc.getSessionInfo({ sessionId })).historyLength).toBe(5n);
  });

  test("an id is in the history when it arrives", async () => {
    const sessionId = await sessionWith([1, 2, 3]);
    const abort = new AbortController();
    let seen = 0;
    try {
      for await (const { payload } of wire.rpc.generate({ sessionId, maxTokens: 1000 }, { signal: abort.signal })) {
        if (payload?.$case === "tokenId" && ++seen === 5) abort.abort();
      }
    } catch {}
    const { historyLength, generatedTokenTotal } = await wire.rpc.getSessionInfo({ sessionId });
    expect(historyLength).toBeGreaterThanOrEqual(3n + 5n);
    expect(historyLength).toBe(3n + generatedTokenTotal);
  });
});

describe("sampling", () => {
  const draw = async (request: object) => {
    const sessionId = await sessionWith([1, 2, 3]);
    const said = await stream(wire.rpc, { sessionId, maxTokens: 24, ...request });
    await wire.rpc.closeSession({ sessionId });
    return said.flatMap((payload) => (payload.$case === "tokenId" ? [payload.value] : []));
  };

  test("without temperature, or with 0, it is greedy, whatever the seed", async () => {
    const greedy = await draw({});
    expect(await draw({ temperature: 0, seed: 1n, topK: 3, topP: 0.5 })).toEqual(greedy);
    expect(await draw({ temperature: 2, topK: 1, seed: 9n })).toEqual(greedy);
  });

  test("the same seed gives the same ids, the extremes of uint64 too, and another seed others", async () => {
    const seeds = [0n, 1n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n];
    const draws = [];
    for (const seed of seeds) {
      const ids = await draw({ temperature: 1.5, seed });
      expect(await draw({ temperature: 1.5, seed })).toEqual(ids);
      draws.push(ids.join());
    }
    expect(new Set(draws).size).toBe(seeds.length);
  });

  test("without a seed, entropy draws one", async () => {
    const draws = await Promise.all(Array.from({ length: 3 }, () => draw({ temperature: 2 })));
    expect(new Set(draws.map((ids) => ids.join())).size).toBe(3);
  });
});

describe("bad requests say which field is wrong, and change nothing", () => {
  const vocabSize = 2048;
  test.each([
    ["a token id at the vocabulary's size", { tokenIds: [1, vocabSize] }, "INVALID_ARGUMENT", "token_ids[1] is 2048"],
    ["the largest uint32", { tokenIds: [2 ** 32 - 1] }, "INVALID_ARGUMENT", "token_ids[0] is 4294967295"],
    ["too many ids", { tokenIds: new Array(1001).fill(1) }, "RESOURCE_EXHAUSTED", "1001 ids"],
  ])("append: %s", async (_, request, status, details) => {
    const sessionId = await sessionWith([1, 2]);
    const failure = await failureOf(wire.rpc.appendTokens({ sessionId, ...request }));
    expect(failure).toMatchObject({ status, details: expect.stringContaining(details) });
    expect(await wire.rpc.getSessionInfo({ sessionId })).toMatchObject({ historyLength: 2n, computedTokenTotal: 2n });
  });

  test.each([
    ["max_tokens 0", { maxTokens: 0 }, "max_tokens is 0"],
    ["temperature below 0", { maxTokens: 1, temperature: -0.5 }, "temperature is -0.5"],
    ["temperature NaN", { maxTokens: 1, temperature: Number.NaN }, "temperature is NaN"],
    ["temperature infinite", { maxTokens: 1, temperature: Number.POSITIVE_INFINITY }, "temperature is Infinity"],
    ["top_p 0", { maxTokens: 1, topP: 0 }, "top_p is 0"],
    ["top_p above 1", { maxTokens: 1, topP: 1.5 }, "top_p is 1.5"],
    ["top_p NaN", { maxTokens: 1, temperature: 1, topP: Number.NaN }, "top_p is NaN"],
  ])("generate: %s", async (_, request, details) => {
    const sessionId = await sessionWith([1, 2]);
    const failure = await failureOf(stream(wire.rpc, { sessionId, ...request }));
    expect(failure).toMatchObject({ status: "INVALID_ARGUMENT", details: expect.stringContaining(details) });
    expect(await wire.rpc.getSessionInfo({ sessionId })).toMatchObject({ historyLength: 2n, computedTokenTotal: 2n });
  });

  test("generate without history", async () => {
    const { sessionId } = await wire.rpc.createSession({});
    const failure = await failureOf(stream(wire.rpc, { sessionId, maxTokens: 1 }));
    expect(failure).toMatchObject({ status: "INVALID_ARGUMENT", details: expect.stringContaining("no history") });
  });

  test.each([
    ["an eos id outside the vocabulary", { eosTokenIds: [vocabSize] }, "eos_token_ids[0] is 2048"],
    ["too many eos ids", { eosTokenIds: new Array(1025).fill(1) }, "1025 ids"],
    ["a label too long", { clientLabel: "x".repeat(257) }, "client_label takes 257 bytes"],
  ])("create: %s", async (_, request, details) => {
    const failure = await failureOf(wire.rpc.createSession(request));
    expect(failure).toMatchObject({ status: "INVALID_ARGUMENT", details: expect.stringContaining(details) });
  });

  test("a session id of a megabyte is not found, and not repeated in the answer", async () => {
    const failure = await failureOf(wire.rpc.getSessionInfo({ sessionId: "a".repeat(2 ** 20) }));
    expect(failure?.details.length).toBeLessThan(300);
    expect(failure).toMatchObject({ status: "NOT_FOUND", details: expect.stringContaining("1048576 characters") });
  });
});

test("the runtime says what it serves, and how many sessions are open", async () => {
  for (const { id } of [...server.server.store.sessions]) await wire.rpc.closeSession({ sessionId: id });
  await wire.rpc.createSession({});
  const info = await wire.rpc.getRuntimeInfo({});
  expect(info).toMatchObject({
    version: "0.0.0-test",
    modelId: "kakeya-tiny",
    architecture: "Qwen3ForCausalLM",
    vocabSize: 2048,
    sink: 4,
    window: 64,
    block: 32,
    quantization: "q8",
    kvFormat: "f32",
    exact: true,
    device: "cpu",
    adapter: "",
    kvBytesPerToken,
    defaultEosTokenIds: [2047],
    sessionCapacity: 4,
    sessionActiveCount: 1,
  });
  expect(info.modelFingerprint).toMatch(/^[0-9a-f]{64}$/);
  expect(info.residentBytes).toBeGreaterThan(10_000_000n);
});

test("a live session is not evicted for a new one, unless its owner left it idle", async () => {
  await using small = await serving({ capacity: 2, evictAfterS: 600 });
  const client = small.connect();
  const [first, second] = [await client.createSession(), await client.createSession()];
  expect((await rejection(client.createSession())).message).toMatch(/all 2 sessions are in use; try again in \d+ s/);
  expect(await first.append([1])).toBe(1);
  await second.close();
  await client.createSession();
});
