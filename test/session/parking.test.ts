import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { type Engine, greedy, type Sampling } from "../../src/engine/engine.ts";
import { SessionError } from "../../src/session/errors.ts";
import type { SessionEvents, StoreOptions } from "../../src/session/store.ts";
import { SessionStore } from "../../src/session/store.ts";
import { StateError } from "../../src/state/errors.ts";
import { SqliteStore } from "../../src/state/sqlite-store.ts";
import type { Lease, StateStore } from "../../src/state/store.ts";
import { eventually } from "../eventually.ts";
import { rejection } from "../rejection.ts";
import { scratchDir } from "../scratch.ts";
import { testEngine } from "../serve/serving.ts";

const capacity = 2;
const ttlS = 1000;

let engine: Engine;
let nowMs: number;
let told: string[];
beforeAll(async () => {
  engine = await testEngine({ capacity });
});
afterAll(() => engine.close());
beforeEach(() => {
  nowMs = 1_000_000;
  told = [];
});

const events: SessionEvents = {
  created: () => {},
  evicted: (session, reason) => told.push(`${session.label} evicted: ${reason}`),
  violated: (session, { invariant }) => told.push(`${session.label} violated: ${invariant}`),
  guessed: () => {},
  ended: (session, outcome) => told.push(`${session.label} ended: ${outcome}`),
  parked: (session) => told.push(`${session.label} parked`),
  tookOver: (_, from) => told.push(`taken over from ${from}`),
  lostLease: () => told.push("lost its lease"),
  restored: (session, { replayedTokens }) => told.push(`${session.label} restored, ${replayedTokens} replayed`),
  warned: (words) => told.push(words),
};

interface Opened extends AsyncDisposable {
  store: SessionStore;
  state: SqliteStore;
}

let sessionIds = 0;

/** A store over a state folder; disposing it is like stopping the server, unless it was killed before. */
async function opened(
  dir: string,
  options: { rebuild?: boolean; keepIds?: number; wrap?: (state: StateStore) => StateStore; places?: number } = {},
): Promise<Opened> {
  const { keepIds, rebuild = false, wrap = (state) => state, places = capacity } = options;
  const now = () => nowMs;
  const state = await SqliteStore.open({
    dir,
    sync: "normal",
    nowMs: now,
    ...(keepIds === undefined ? {} : { keepIds }),
  });
  const storeOptions: StoreOptions = {
    ttlS,
    evictAfterS: 1,
    maxWaitingCalls: 4,
    now: () => nowMs / 1000,
    newId: () => `session-${sessionIds++}`,
    events,
    parking: { state: wrap(state), rebuild, nowMs: now },
  };
  const info = { ...engine.info, capacity: places };
  const store = new SessionStore(Object.assign(Object.create(engine) as Engine, { info }), storeOptions);
  return {
    store,
    state,
    async [Symbol.asyncDispose]() {
      await store.endAll();
      await state.close();
    },
  };
}

/** What SIGKILL leaves: the folder as it is, and an engine that knows nothing. */
async function killed({ store, state }: Opened): Promise<void> {
  await state.close();
  for (const { sequence } of [...store.sessions]) await engine.free(sequence);
}

async function created(store: SessionStore, label: string): Promise<string> {
  nowMs += 10;
  return (await store.create([], label)).id;
}

async function generated(
  store: SessionStore,
  id: string,
  maxTokens: number,
  sampling: Sampling = greedy,
): Promise<number[]> {
  nowMs += 10;
  const ids: number[] = [];
  for await (const event of store.generate(id, { maxTokens, sampling }))
    if (event.kind === "token") ids.push(event.tokenId);
  return ids;
}

const prompt = (seed: number, length: number) => Uint32Array.from({ length }, (_, i) => (seed * 31 + i * 7) % 500);

async function kindOf(promise: Promise<unknown>): Promise<string> {
  const error = await rejection(promise);
  if (!(error instanceof SessionError)) throw error;
  return error.kind;
}

test("more sessions than fit are parked and come back with the next call, where they were", async () => {
  using scratch = scratchDir();
  await using opening = await opened(scratch.path);
  const { store } = opening;
  const ids: string[] = [];
  for (const label of ["a", "b", "c", "d"]) ids.push(await created(store, label));
  expect(told).toEqual(["a parked", "b parked"]);
  const expected = [];
  for (const [i, id] of ids.entries()) {
    await store.append(id, prompt(i, 100));
    expected.push(await generated(store, id, 5));
  }
  told = [];
  const again = [];
  for (const id of ids) again.push(await generated(store, id, 5));
  expect(told.filter((line) => line.includes("restored"))).toEqual(
    ["a", "b", "c", "d"].map((label) => `${label} restored, 0 replayed`),
  );
  const info = await store.info(ids[3] ?? "");
  expect(info).toMatchObject({
    parked: false,
    historyTokens: 110,
    computedTokens: 110,
    generatedTokens: 10,
    replayedTokens: 0,
  });
  expect(await store.info(ids[0] ?? "")).toMatchObject({
    parked: true,
    historyTokens: 110,
    computedTokens: 110,
    liveBytes: 0,
  });
  expect(store.activeCount).toBe(capacity);
});

test("whatever happens to a session, its ids are those of one that nothing happened to", async () => {
  const sampling: Sampling = { temperature: 0.9, topK: 20, topP: 0.9, seed: 5n };
  const step = fc.oneof(
    fc.record({ kind: fc.constant("append" as const), tokens: fc.integer({ min: 1, max: 90 }) }),
    fc.record({ kind: fc.constant("generate" as const), tokens: fc.integer({ min: 1, max: 20 }) }),
    fc.record({ kind: fc.constantFrom("park" as const, "stop" as const, "kill" as const) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 10 }), async (steps) => {
      using scratch = scratchDir();
      const reference = await engine.create();
      let history = 0;
      const append = async (ids: Uint32Array) => {
        history += ids.length;
        await engine.append(reference, ids);
      };
      let opening = await opened(scratch.path);
      const id = await created(opening.store, "a");
      const calls = [{ kind: "append" as const, tokens: 5 }, ...steps, { kind: "generate" as const, tokens: 3 }];
      // The reference takes one of the places.
      for (const call of calls) {
        switch (call.kind) {
          case "append": {
            const ids = prompt(history, call.tokens);
            await append(ids);
            expect(await opening.store.append(id, ids)).toBe(history);
            break;
          }
          case "generate": {
            const expected: number[] = [];
            const generation = engine.generate(
              reference,
              { sampling, maxTokens: call.tokens, eosTokenIds: [] },
              (told) => {
                expected.push(...told.tokenIds);
              },
            );
            generation.allow(call.tokens);
            await generation.ended;
            history += expected.length;
            expect(await generated(opening.store, id, call.tokens, sampling)).toEqual(expected);
            break;
          }
          case "park":
            await opening.store.endAll();
            break;
          case "stop":
            await opening[Symbol.asyncDispose]();
            opening = await opened(scratch.path);
            break;
          case "kill":
            await killed(opening);
            opening = await opened(scratch.path);
            break;
        }
      }
      const { computedTokens, historyTokens } = await opening.store.info(id);
      expect({ computedTokens, historyTokens }).toEqual({ computedTokens: history, historyTokens: history });
      await opening[Symbol.asyncDispose]();
      await engine.free(reference);
    }),
    { numRuns: 25, seed: 3 },
  );
}, 120_000);

test("a killed server has everything that it acknowledged, and counts what it computes again", async () => {
  using scratch = scratchDir();
  const first = await opened(scratch.path);
  const id = await created(first.store, "a");
  await first.store.append(id, prompt(1, 80));
  const before = await generated(first.store, id, 4);
  await killed(first);

  await using second = await opened(scratch.path);
  expect(await second.store.info(id)).toMatchObject({ parked: true, historyTokens: 84, generatedTokens: 4 });
  const after = await generated(second.store, id, 4);
  expect(told).toContain("a restored, 84 replayed");
  expect(await second.store.info(id)).toMatchObject({
    historyTokens: 88,
    computedTokens: 88,
    generatedTokens: 8,
    replayedTokens: 84,
  });

  const whole = await created(second.store, "whole");
  await second.store.append(whole, prompt(1, 80));
  expect(await generated(second.store, whole, 8)).toEqual([...before, ...after]);
});

test("ids are in the journal before anybody sees them", async () => {
  using scratch = scratchDir();
  await using opening = await opened(scratch.path);
  const { store, state } = opening;
  const id = await created(store, "a");
  await store.append(id, prompt(1, 10));
  expect((await state.find(id))?.tokens).toBe(10);
  let seen = 10;
  for await (const event of store.generate(id, { maxTokens: 20, sampling: greedy })) {
    if (event.kind === "token") seen++;
    expect((await state.find(id))?.tokens ?? 0).toBeGreaterThanOrEqual(seen);
  }
});

/** A state that refuses to commit while told so. */
function refusing(refused: () => boolean): (state: StateStore) => StateStore {
  return (state) =>
    new Proxy(state, {
      get(target, name) {
        if (name === "commit" && refused()) return () => Promise.reject(new StateError("full", "the disk is full"));
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
}

test("when ids can't be written the call fails, the session is as it was, and others go on", async () => {
  using scratch = scratchDir();
  let full = false;
  await using opening = await opened(scratch.path, { wrap: refusing(() => full) });
  const { store } = opening;
  const id = await created(store, "a");
  await store.append(id, prompt(1, 50));
  const reference = await created(store, "reference");
  await store.append(reference, prompt(1, 50));
  const expected = await generated(store, reference, 6);

  const first = await generated(store, id, 2);
  full = true;
  expect(await kindOf(store.append(id, prompt(2, 5)))).toBe("resource-exhausted");
  expect(await kindOf(generated(store, id, 3))).toBe("resource-exhausted");
  expect(await store.info(id)).toMatchObject({ historyTokens: 52, generatedTokens: 2 });
  full = false;
  expect([...first, ...(await generated(store, id, 4))]).toEqual(expected);
});

test("a cache found corrupt costs its call, and nothing else", async () => {
  using scratch = scratchDir();
  await using opening = await opened(scratch.path);
  const { store } = opening;
  const id = await created(store, "a");
  await store.append(id, prompt(1, 50));
  for (const { sequence } of store.sessions) await engine.corrupt(sequence);
  expect(await kindOf(store.append(id, prompt(1, 1)))).toBe("invariant-violated");
  expect(told).toEqual(["a violated: inv1"]);
  expect(await store.append(id, prompt(1, 1))).toBe(51);
});

test("calls of more sessions than fit wait for a place", async () => {
  using scratch = scratchDir();
  await using opening = await opened(scratch.path);
  const { store } = opening;
  const ids = await Promise.all(["a", "b", "c", "d", "e"].map((label) => created(store, label)));
  const lengths = await Promise.all(ids.map((id, i) => store.append(id, prompt(i, 40 + i))));
  expect(lengths).toEqual([40, 41, 42, 43, 44]);
  const all = await Promise.all(ids.map((id) => generated(store, id, 10)));
  const alone = [];
  for (const [i] of ids.entries()) {
    const id = await created(store, "alone");
    await store.append(id, prompt(i, 40 + i));
    alone.push(await generated(store, id, 10));
  }
  expect(all).toEqual(alone);
});

test("sessions that take turns on one place all get on", async () => {
  using scratch = scratchDir();
  await using opening = await opened(scratch.path, { places: 1 });
  const { store } = opening;
  const ids = await Promise.all(["a", "b", "c"].map((label) => created(store, label)));
  const calls = ids.flatMap((id) => [1, 2, 3].map((length) => store.append(id, prompt(1, length))));
  expect(await Promise.all(calls)).toEqual([1, 3, 6, 1, 3, 6, 1, 3, 6]);
  const gone = AbortSignal.abort(new Error("gone"));
  for (const id of ids) expect((await rejection(store.append(id, prompt(1, 1), gone))).message).toBe("gone");
  for (const id of ids) expect(await store.append(id, prompt(1, 1))).toBe(7);
});

test("a reader that does not read keeps its place from others for a while only, and gets what was computed", async () => {
  using scratch = scratchDir();
  await using opening = await opened(scratch.path, { places: 1 });
  const { store } = opening;
  const stalled = await created(store, "stalled");
  await store.append(stalled, prompt(1, 20));
  const events = store.generate(stalled, { maxTokens: 100, sampling: greedy });
  await events.next();
  let isThere = false;
  void store.create([], "waiting").then(() => {
    isThere = true;
  });
  // The engine may still be at the steps that it runs ahead.
  await eventually("a place", async () => {
    nowMs += 2000;
    await store.evictIdle();
    return isThere || undefined;
  });
  expect(told).toContain("stalled parked");
  const read = 1 + (await Array.fromAsync(events)).filter(({ kind }) => kind === "token").length;
  expect(read).toBeLessThan(10);
  expect(await store.info(stalled)).toMatchObject({ historyTokens: 20 + read, generatedTokens: read });
  expect(await store.append(stalled, prompt(1, 1))).toBe(21 + read);
});

test("a fork has the same history, and goes its own way; also from an earlier position, and when its source is away", async () => {
  using scratch = scratchDir();
  await using opening = await opened(scratch.path);
  const { store } = opening;
  const id = await created(store, "a");
  await store.append(id, prompt(1, 50));
  const early = await generated(store, id, 5);
  const fork = await store.fork(id);
  const later = await generated(store, id, 5);
  expect(await generated(store, fork, 5)).toEqual(later);
  await store.append(fork, prompt(9, 3));
  expect(await store.info(id)).toMatchObject({ historyTokens: 60 });
  expect(await store.info(fork)).toMatchObject({ historyTokens: 63, generatedTokens: 5, computedTokens: 63 });

  expect(await generated(store, await store.fork(id, 50), 5)).toEqual(early);
  await store.endAll();
  expect(await generated(store, await store.fork(id, 50), 10)).toEqual([...early, ...later]);
  expect(await kindOf(store.fork(id, 61))).toBe("invalid-argument");
  await generated(store, id, 1);
  expect(await kindOf(store.fork(id, 62))).toBe("invalid-argument");
  expect(await kindOf(store.fork("nobody"))).toBe("not-found");
});

test("a session that is closed is gone, in memory or not, with all that was kept", async () => {
  using scratch = scratchDir();
  await using opening = await opened(scratch.path);
  const { store, state } = opening;
  const [here, away] = [await created(store, "here"), await created(store, "away")];
  for (const id of [here, away]) await store.append(id, prompt(1, 10));
  await store.endAll();
  await store.append(here, prompt(1, 1));
  expect(await store.close(here)).toBe(11);
  expect(await store.close(away)).toBe(10);
  for (const id of [here, away]) expect(await kindOf(store.info(id))).toBe("not-found");
  expect(await state.list()).toEqual([]);
  expect(readdirSync(join(scratch.path, "snapshots"))).toEqual([]);
});

test("a session idle for longer than the TTL is gone, in memory or not", async () => {
  using scratch = scratchDir();
  await using opening = await opened(scratch.path);
  const { store, state } = opening;
  const [away, here, active] = [
    await created(store, "away"),
    await created(store, "here"),
    await created(store, "active"),
  ];
  nowMs += ttlS * 1000;
  await store.append(active, prompt(1, 1));
  nowMs += 1000;
  expect(await kindOf(store.append(away, prompt(1, 1)))).toBe("not-found");
  await store.evictIdle();
  expect(await kindOf(store.append(here, prompt(1, 1)))).toBe("not-found");
  expect((await state.list()).map(({ id }) => id)).toEqual([active]);
  expect(await store.append(active, prompt(1, 1))).toBe(2);
});

test("another engine continues a session only with --rebuild, which computes all of it again", async () => {
  using scratch = scratchDir();
  const first = await opened(scratch.path);
  const id = await created(first.store, "a");
  await first.store.append(id, prompt(1, 150));
  await first[Symbol.asyncDispose]();

  const ours = engine;
  engine = await testEngine({ capacity, window: 32 });
  try {
    const second = await opened(scratch.path);
    const error = await rejection(second.store.append(id, prompt(1, 1)));
    expect(error).toMatchObject({ kind: "failed-precondition" });
    expect(error.message).toContain("150 tokens were computed with something else: window 64 then, 32 now");
    expect(error.message).toContain("--rebuild");
    expect(await second.store.info(id)).toMatchObject({ parked: true, historyTokens: 150 });
    await second[Symbol.asyncDispose]();

    await using third = await opened(scratch.path, { rebuild: true });
    const rebuilt = await generated(third.store, id, 5);
    expect(told).toContain("a restored, 150 replayed");
    const fresh = await created(third.store, "fresh");
    await third.store.append(fresh, prompt(1, 150));
    expect(rebuilt).toEqual(await generated(third.store, fresh, 5));
  } finally {
    await engine.close();
    engine = ours;
  }
});

test("a session whose ids were dropped can't be rebuilt, nor restored without a whole snapshot", async () => {
  using scratch = scratchDir();
  const first = await opened(scratch.path, { keepIds: 10 });
  const id = await created(first.store, "a");
  for (const length of [1500, 800]) {
    await first.store.append(id, prompt(1, length));
    await first.store.endAll();
  }
  expect((await first.state.find(id))?.keptFrom).toBe(1000);
  expect(await first.store.append(id, prompt(1, 1))).toBe(2301);
  await first[Symbol.asyncDispose]();

  await using second = await opened(scratch.path, { keepIds: 10 });
  for (const name of readdirSync(join(scratch.path, "snapshots")))
    writeFileSync(join(scratch.path, "snapshots", name), "damaged");
  expect(await kindOf(second.store.append(id, prompt(1, 1)))).toBe("data-loss");
});

test("damaged snapshots cost time, and are told of", async () => {
  using scratch = scratchDir();
  const first = await opened(scratch.path);
  const id = await created(first.store, "a");
  await first.store.append(id, prompt(1, 90));
  await first[Symbol.asyncDispose]();
  for (const name of readdirSync(join(scratch.path, "snapshots")))
    writeFileSync(join(scratch.path, "snapshots", name), "damaged");
  await using second = await opened(scratch.path);
  expect(await second.store.append(id, prompt(1, 1))).toBe(91);
  expect(told.filter((line) => line.includes("was damaged"))).toHaveLength(1);
  expect(told).toContain("a restored, 90 replayed");
});

test("long generations are snapshotted on the way, so that a kill costs little", async () => {
  using scratch = scratchDir();
  const first = await opened(scratch.path);
  const id = await created(first.store, "a");
  await first.store.append(id, prompt(1, 10));
  await generated(first.store, id, 900);
  await killed(first);
  const second = await opened(scratch.path);
  const { snapshot } = await second.state.loadSnapshot(id, { ...engine.info.facts }, 1000);
  expect(snapshot?.position ?? 0).toBeGreaterThanOrEqual(256);
  const after = await generated(second.store, id, 5);
  const whole = await created(second.store, "whole");
  await second.store.append(whole, prompt(1, 10));
  expect((await generated(second.store, whole, 905)).slice(900)).toEqual(after);
  await second[Symbol.asyncDispose]();
});

test("a session that is on its way to another server when the server stops leaves once, and is waited for", async () => {
  using scratch = scratchDir();
  let wanted: Lease[] = [];
  const wrap = (state: StateStore) =>
    new Proxy(state, {
      get(target, name) {
        if (name === "fleet") return async () => ({ server: wanted[0]?.server, wanted, connected: true });
        const value = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  const first = await opened(scratch.path, { wrap });
  const ids = [await created(first.store, "a"), await created(first.store, "b")];
  for (const [i, id] of ids.entries()) await first.store.append(id, prompt(i, 40));
  wanted = [...first.store.sessions].slice(1).flatMap(({ lease }) => lease ?? []);
  expect(wanted).toHaveLength(1);
  await Promise.all([first.store.handOver(), first.store.endAll()]);
  expect(told.toSorted()).toEqual(["a parked", "b parked"]);
  await first.state.close();
});
