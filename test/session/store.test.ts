import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { type Engine, EngineCrashed, greedy } from "../../src/engine/engine.ts";
import type { SessionErrorKind } from "../../src/session/errors.ts";
import { SessionError } from "../../src/session/errors.ts";
import type { GenerationEvent, Session } from "../../src/session/session.ts";
import { SessionStore, type StoreOptions } from "../../src/session/store.ts";
import golden from "../golden/kakeya-tiny.json" with { type: "json" };
import { rejection } from "../rejection.ts";
import { testEngine } from "../serve/serving.ts";

const capacity = 3;
const ttlS = 100;
const evictAfterS = 20;

let engine: Engine;
let store: SessionStore;
let nowS: number;
let told: string[];
beforeAll(async () => {
  engine = await testEngine({ capacity });
});
afterAll(() => engine.close());
beforeEach(() => {
  nowS = 0;
  told = [];
  store = storeOf();
});

function storeOf({ on = engine, ...options }: Partial<StoreOptions> & { on?: Engine } = {}): SessionStore {
  let ids = 0;
  return new SessionStore(on, {
    ttlS,
    evictAfterS,
    maxWaitingCalls: 2,
    now: () => nowS,
    newId: () => `session-${ids++}`,
    events: {
      created: () => {},
      evicted: (session, reason) => told.push(`${session.label} evicted: ${reason}`),
      violated: (session, { invariant }) => told.push(`${session.label} violated: ${invariant}`),
      guessed: () => {},
      ended: (session, outcome) => told.push(`${session.label} ended: ${outcome}`),
      ...neverParked,
    },
    ...options,
  });
}

/** A store on the same engine, whose calls of one kind fail. */
function storeWith(broken: Partial<Engine>): SessionStore {
  return storeOf({ on: Object.assign(Object.create(engine) as Engine, broken) });
}

const unexpected = () => {
  throw new Error("without a state folder nothing is parked");
};
const neverParked = {
  parked: unexpected,
  restored: unexpected,
  tookOver: unexpected,
  lostLease: unexpected,
  warned: unexpected,
};

const ids = (length: number) => new Uint32Array(length).fill(7);

async function closeAll(): Promise<void> {
  for (const { id } of [...store.sessions]) await store.close(id);
}

/** All places of the engine can be taken: none was lost. */
async function expectNoPlaceLost(): Promise<void> {
  await closeAll();
  const sequences = await Promise.all(Array.from({ length: capacity }, () => engine.create()));
  for (const sequence of sequences) await engine.free(sequence);
}

async function kindOf(promise: Promise<unknown>): Promise<SessionErrorKind> {
  const error = await rejection(promise);
  if (!(error instanceof SessionError)) throw error;
  return error.kind;
}

function generate(session: Session, maxTokens: number): AsyncGenerator<GenerationEvent, void> {
  return store.generate(session.id, { maxTokens, sampling: greedy });
}

test("a new session beyond capacity takes the place of the least recently active one, when that is idle", async () => {
  const sessions = [];
  for (const label of ["a", "b", "c"]) {
    nowS++;
    sessions.push(await store.create([], label));
  }
  const [a, b] = sessions as [Session, Session];
  nowS = 4;
  await store.append(a.id, ids(5));
  expect((await rejection(store.create([], "d"))).message).toContain("all 3 sessions are in use; try again in 18 s");
  nowS = 2 + evictAfterS - 0.1;
  expect(await kindOf(store.create([], "d"))).toBe("resource-exhausted");
  expect(told).toEqual([]);
  nowS = 2 + evictAfterS;
  await store.create([], "d");
  expect(told).toEqual(["b evicted: capacity", "b ended: evicted"]);
  expect(await kindOf(store.append(b.id, ids(1)))).toBe("not-found");
  expect(await store.append(a.id, ids(1))).toBe(6);
  await expectNoPlaceLost();
});

test("with no idle time to wait for, the least recently active one gives way at once", async () => {
  store = storeOf({ evictAfterS: 0 });
  for (const label of ["a", "b", "c", "d", "e"]) await store.create([], label);
  expect(told.filter((line) => line.includes("capacity"))).toEqual(["a evicted: capacity", "b evicted: capacity"]);
  await expectNoPlaceLost();
});

test("with a TTL of 0 a session is never too old", async () => {
  store = storeOf({ ttlS: 0 });
  const session = await store.create([], "a");
  nowS = 1e9;
  await store.evictIdle();
  expect(await store.append(session.id, ids(1))).toBe(1);
  expect(told).toEqual([]);
  await expectNoPlaceLost();
});

test("asking for information is not activity", async () => {
  const [a] = [await store.create([], "a")];
  nowS = 1;
  await store.create([], "b");
  await store.create([], "c");
  nowS = 50;
  expect((await store.info(a.id)).idleS).toBe(50);
  expect((await store.info(a.id)).idleS).toBe(50);
  await store.create([], "d");
  expect(told[0]).toBe("a evicted: capacity");
  await expectNoPlaceLost();
});

test("a session with a call in flight is never evicted; when all have one, there is no room", async () => {
  const sessions = [];
  for (const label of ["a", "b", "c"]) sessions.push(await store.create([], label));
  const streams = [];
  for (const session of sessions) {
    await store.append(session.id, ids(3));
    const events = generate(session, 10);
    await events.next();
    streams.push(events);
  }
  nowS = evictAfterS + 1;
  expect((await rejection(store.create([], "d"))).message).toContain("all 3 sessions have a call in flight");
  await streams[1]?.return();
  nowS = 2 * evictAfterS + 2;
  await store.create([], "d");
  expect(told).toEqual(["b evicted: capacity", "b ended: evicted"]);
  for (const events of streams) await events.return();
  await expectNoPlaceLost();
});

test("many created at once take no more sequences than there are", async () => {
  store = storeOf({ evictAfterS: 0 });
  const created = await Promise.all(Array.from({ length: 10 }, (_, i) => store.create([], `s${i}`).catch(() => {})));
  expect(store.activeCount).toBeLessThanOrEqual(capacity);
  expect(created.filter((session) => session !== undefined).length).toBeGreaterThanOrEqual(capacity);
  await expectNoPlaceLost();
});

test("a session idle for longer than the TTL is gone, swept or not", async () => {
  const swept = await store.create([], "swept");
  const found = await store.create([], "found");
  const active = await store.create([], "active");
  nowS = ttlS;
  await store.append(active.id, ids(1));
  nowS = ttlS + 1;
  expect(await kindOf(store.info(found.id))).toBe("not-found");
  await store.evictIdle();
  expect(await kindOf(store.info(swept.id))).toBe("not-found");
  expect(await store.append(active.id, ids(1))).toBe(2);
  expect(told.sort()).toEqual([
    "found ended: evicted",
    "found evicted: idle",
    "swept ended: evicted",
    "swept evicted: idle",
  ]);
  await expectNoPlaceLost();
});

test("a reader that stalls for longer than the TTL loses its session, and those who wait for it hear so", async () => {
  const session = await store.create([], "stalled");
  await store.append(session.id, ids(3));
  const events = generate(session, 10);
  await events.next();
  const waiting = kindOf(store.append(session.id, ids(1)));
  while (session.computing) await new Promise(setImmediate); // the steps that run ahead of the reader
  nowS = ttlS + 1;
  await store.evictIdle();
  expect(await waiting).toBe("not-found");
  expect(await kindOf(events.next())).toBe("not-found");
  await expectNoPlaceLost();
});

test("a session is not idle while the engine works for it", async () => {
  const session = await store.create([], "busy");
  const appending = store.append(session.id, ids(200));
  while (!session.computing) await Promise.resolve();
  nowS = ttlS + 1;
  await store.evictIdle();
  expect(await appending).toBe(200);
  await expectNoPlaceLost();
});

test.each([
  ["append", (session: Session) => store.append(session.id, ids(1))],
  ["generate", (session: Session) => Array.fromAsync(generate(session, 1))],
  ["info", (session: Session) => store.info(session.id)],
])("a corrupt sequence is found by %s, which fails, frees it and forgets the session", async (_, call) => {
  const others = [await store.create([], "other")];
  await store.append(others[0]?.id ?? "", ids(10));
  const session = await store.create([], "corrupt");
  await store.append(session.id, ids(10));
  await engine.corrupt(session.sequence);
  expect(await kindOf(call(session))).toBe("invariant-violated");
  expect(told).toEqual(["corrupt violated: inv1", "corrupt ended: violated"]);
  expect(await kindOf(store.info(session.id))).toBe("not-found");
  expect((await store.info(others[0]?.id ?? "")).historyTokens).toBe(10);
  await expectNoPlaceLost();
});

test("closing waits for the calls that came before, and frees the sequence once", async () => {
  const session = await store.create([], "a");
  const appending = store.append(session.id, ids(100));
  const closing = store.close(session.id);
  const late = kindOf(store.append(session.id, ids(1)));
  expect(await appending).toBe(100);
  expect(await closing).toBe(100);
  expect(await late).toBe("not-found");
  expect(told).toEqual(["a ended: closed"]);
  await expectNoPlaceLost();
});

test("calls on one session wait in order; too many are refused", async () => {
  const session = await store.create([], "a");
  const calls = [1, 2, 3].map((n) => store.append(session.id, ids(n)));
  expect(store.queueDepth).toBeGreaterThanOrEqual(2);
  expect(await kindOf(store.append(session.id, ids(4)))).toBe("resource-exhausted");
  expect(await Promise.all(calls)).toEqual([1, 3, 6]);
  await expectNoPlaceLost();
});

test("an append goes on when its caller goes away", async () => {
  const session = await store.create([], "a");
  const abort = new AbortController();
  const appending = store.append(session.id, ids(100), abort.signal);
  while (!session.computing) await Promise.resolve();
  abort.abort();
  expect(await appending).toBe(100);
  await expectNoPlaceLost();
});

test("a generation told to stop ends with a done of its own", async () => {
  const session = await store.create([], "a");
  await store.append(session.id, ids(3));
  const stop = new AbortController();
  const events = store.generate(session.id, { maxTokens: 100, sampling: greedy, stop: stop.signal });
  await events.next();
  stop.abort();
  const rest = await Array.fromAsync(events);
  const tokens = rest.filter(({ kind }) => kind === "token").length + 1;
  expect(rest.at(-1)).toMatchObject({ kind: "done", stopReason: "cancelled", generatedTokens: tokens });
  expect(tokens).toBeLessThan(5);
  expect((await store.info(session.id)).historyTokens).toBe(3 + tokens);
  await expectNoPlaceLost();
});

test("a generation left in the middle gives its turn to the next call", async () => {
  const session = await store.create([], "a");
  await store.append(session.id, ids(3));
  for await (const event of generate(session, 100)) if (event.kind === "token") break;
  const { historyTokens } = await store.info(session.id);
  // The id that was read, and those of the steps that ran ahead of the reader.
  expect(historyTokens).toBeGreaterThanOrEqual(4);
  expect(historyTokens).toBeLessThanOrEqual(6);
  expect(await store.append(session.id, ids(1))).toBe(historyTokens + 1);
  await expectNoPlaceLost();
});

test("a generation that runs nothing ahead has no id in its history but those that were read", async () => {
  const question = golden.turns[0]?.prompt_ids ?? [];
  const session = await store.create([2047], "a");
  const ask = () => store.append(session.id, Uint32Array.from(question));
  // It has answered the same question before, so guesses of the answer would be right.
  for (let i = 0; i < 2; i++) {
    await ask();
    await Array.fromAsync(generate(session, 64));
  }
  const drafts = async () => (await store.info(session.id)).acceptedDrafts;
  expect(await drafts()).toBeGreaterThan(5);
  for (const count of [1, 2, 3, 8]) {
    const before = await ask();
    let read = 0;
    for await (const event of store.generate(session.id, { maxTokens: 64, sampling: greedy, ahead: 0 })) {
      if (event.kind === "token" && ++read === count) break;
    }
    expect((await store.info(session.id)).historyTokens).toBe(before + count);
  }
  await expectNoPlaceLost();
});

test("an engine that dies takes its sessions along", async () => {
  const died = () => Promise.reject(new EngineCrashed("the engine's worker died"));
  store = storeWith({ append: died });
  const session = await store.create([], "a");
  expect(await rejection(store.append(session.id, ids(1)))).toBeInstanceOf(EngineCrashed);
  expect(told).toEqual(["a ended: failed"]);
  expect(await kindOf(store.info(session.id))).toBe("not-found");

  store = storeWith({ create: died });
  expect(await rejection(store.create([], "b"))).toBeInstanceOf(EngineCrashed);
  await expectNoPlaceLost();
});

test("a dead engine has no sequence to give back", async () => {
  store = storeWith({
    free: (sequence) => engine.free(sequence).then(() => Promise.reject(new EngineCrashed("died"))),
  });
  const session = await store.create([], "a");
  expect(await store.close(session.id)).toBe(0);
  await expectNoPlaceLost();
});

test("a session whose engine call failed is not used again: nobody knows what its cache holds", async () => {
  store = storeWith({
    generate: () => ({
      ended: Promise.reject(new Error("out of memory")),
      allow() {},
      stop() {},
    }),
  });
  const session = await store.create([], "a");
  await store.append(session.id, ids(3));
  expect((await rejection(Array.fromAsync(generate(session, 1)))).message).toBe("out of memory");
  expect(told).toEqual(["a ended: failed"]);
  expect(await kindOf(store.info(session.id))).toBe("not-found");
  await expectNoPlaceLost();
});

test("ending all sessions gives all sequences back", async () => {
  for (const label of ["a", "b"]) await store.create([], label);
  await store.endAll();
  expect(told).toEqual(["a ended: shutdown", "b ended: shutdown"]);
  await expectNoPlaceLost();
});

test("an append that fails after its caller has gone still ends its session", async () => {
  const abort = new AbortController();
  store = storeWith({
    append: () => {
      abort.abort();
      return Promise.reject(new Error("out of memory"));
    },
  });
  const session = await store.create([], "a");
  expect((await rejection(store.append(session.id, ids(3), abort.signal))).message).toBe("out of memory");
  expect(told).toEqual(["a ended: failed"]);
  await expectNoPlaceLost();
});

test("a session that its owner can compute again gives way at once when it is idle, and not before its first call", async () => {
  const owned = await Promise.all([store.create([], "owned", "rebuilder"), store.create([], "owned", "rebuilder")]);
  await store.create([], "kept");
  expect((await rejection(store.create([], "late"))).message).toContain("in use");
  await store.append(owned[1]?.id ?? "", Uint32Array.of(1, 2));
  await store.create([], "late");
  expect(told).toEqual(["owned evicted: capacity", "owned ended: evicted"]);
  expect((await rejection(store.create([], "later"))).message).toContain("in use");
  await store.endAll();
});

test("a session that its owner can compute again waits for the place of another such one", async () => {
  const owned = await Promise.all(Array.from({ length: capacity }, () => store.create([], "owned", "rebuilder")));
  const late = [store.create([], "late", "rebuilder"), store.create([], "late", "rebuilder")];
  expect((await rejection(store.create([], "client"))).message).toContain("have a call in flight");
  for (const { id } of owned.slice(1)) await store.append(id, Uint32Array.of(1, 2));
  expect((await Promise.all(late)).map(({ label }) => label)).toEqual(["late", "late"]);
  expect(store.activeCount).toBe(capacity);
  await store.endAll();
});
