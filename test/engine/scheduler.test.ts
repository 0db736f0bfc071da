import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import type { Backend } from "../../src/engine/backend.ts";
import type { CpuSequence } from "../../src/engine/cpu-sequence.ts";
import { type GenerateRequest, greedy, type SavedSequence, type Step } from "../../src/engine/engine.ts";
import { Scheduler } from "../../src/engine/scheduler.ts";
import { rejection } from "../rejection.ts";
import { tinyBackend } from "./models.ts";

let backend: Backend<CpuSequence>;
let scheduler: Scheduler<CpuSequence>;
/** Each step of the backend: the sequences' names with the tokens of each, and which logits were wanted. */
let steps: string[];
/** Makes steps that a sequence takes part in fail. */
let broken: CpuSequence | undefined;
/** Makes what a step computed for a sequence impossible to keep. */
let unkept: CpuSequence | undefined;
const names = new Map<CpuSequence, string>();

beforeAll(async () => {
  backend = await tinyBackend(8);
});
afterAll(() => backend.close());
beforeEach(() => {
  steps = [];
  broken = undefined;
  unkept = undefined;
  scheduler = new Scheduler(recording(backend));
});

/** The backend itself, with its steps written down. */
function recording(real: Backend<CpuSequence>): Backend<CpuSequence> {
  const run: Backend<CpuSequence>["run"] = (batch, wanted) => {
    steps.push(`${batch.map((run) => `${names.get(run.sequence)}${run.tokenIds.length}`).join("+")} ${wanted}`);
    if (batch.some(({ sequence }) => sequence === broken)) return Promise.reject(new Error("out of memory"));
    const at = batch.findIndex(({ sequence }) => sequence === unkept);
    return real.run(batch, wanted).then((ran) => ({
      ...ran,
      commit(i, count) {
        if (i === at) throw new Error("it can't be kept");
        return ran.commit(i, count);
      },
    }));
  };
  const { geometry, facts, vocabSize, capacity, mostRows } = real;
  return { ...verbsOf(real), geometry, facts, vocabSize, capacity, mostRows, run };
}

function verbsOf(real: Backend<CpuSequence>) {
  return {
    rowsOf: (n: number, tokens: number) => real.rowsOf(n, tokens),
    create: () => real.create(),
    free: (sequence: CpuSequence) => real.free(sequence),
    recount: (sequence: CpuSequence) => real.recount(sequence),
    save: (sequence: CpuSequence) => real.save(sequence),
    load: (saved: SavedSequence) => real.load(saved),
    corrupt: (sequence: CpuSequence) => real.corrupt(sequence),
    close: () => real.close(),
  };
}

/** Sequences a, b, ... with three tokens of history each, unless they are to be empty; freed when the test ends. */
async function sequences(count: number, { empty = false } = {}): Promise<Disposable & { all: CpuSequence[] }> {
  const all: CpuSequence[] = [];
  for (let i = 0; i < count; i++) {
    const sequence = backend.create();
    names.set(sequence, String.fromCharCode(97 + i));
    if (!empty) (await backend.run([{ sequence, tokenIds: [7, 7, 7] }], "last")).commit(0, 3);
    all.push(sequence);
  }
  return { all, [Symbol.dispose]: () => all.forEach((sequence) => void backend.free(sequence)) };
}

const ids = (length: number) => new Uint32Array(length).fill(7);

/** A generation that may run all of its steps at once. */
function generation(sequence: CpuSequence, request: Partial<GenerateRequest> = {}) {
  const whole = { sampling: greedy, maxTokens: 3, eosTokenIds: [], ...request };
  const told: Step[] = [];
  const { ended, allow, stop } = scheduler.generate(sequence, whole, (step) => told.push(step));
  return { ended, allow, stop, told };
}

test("an append runs block by block, and computes logits for its last token alone", async () => {
  using made = await sequences(1, { empty: true });
  const [a] = made.all as [CpuSequence];
  await scheduler.append(a, ids(80), "last");
  expect(steps).toEqual(["a4 none", "a32 none", "a32 none", "a12 last"]);
  expect(a.state).toMatchObject({ position: 80, minRows: 68, maxRows: 68, computedTokens: 80 });
});

test("an append that nobody generates after computes no logits", async () => {
  using made = await sequences(1, { empty: true });
  const [a] = made.all as [CpuSequence];
  await scheduler.append(a, ids(5), "none");
  expect(steps).toEqual(["a4 none", "a1 none"]);
});

test("appends take turns, so that a long one does not hold up a short one", async () => {
  using made = await sequences(2, { empty: true });
  const [long, short] = made.all as [CpuSequence, CpuSequence];
  await Promise.all([scheduler.append(long, ids(100), "last"), scheduler.append(short, ids(20), "last")]);
  expect(steps).toEqual(["a4 none", "b4 none", "a32 none", "b16 last", "a32 none", "a32 last"]);
});

test("sequences that generate share each step, and an append gets one chunk between two steps", async () => {
  using made = await sequences(3);
  const [a, b, c] = made.all as [CpuSequence, CpuSequence, CpuSequence];
  const [first, second] = [generation(a), generation(b)];
  first.allow(3);
  second.allow(3);
  await Promise.all([first.ended, second.ended, scheduler.append(c, ids(60), "none")]);
  expect(steps).toEqual(["a1+b1 last", "c1 none", "a1+b1 last", "c32 none", "a1+b1 last", "c27 none"]);
  expect(first.told.map(({ state }) => state.position)).toEqual([4, 5, 6]);
});

test("what a step added to several sequences is told in one go, before anything else runs", async () => {
  using made = await sequences(3);
  const goes: CpuSequence[][] = [];
  let current: CpuSequence[] | undefined;
  const ended = made.all.map((sequence) => {
    const request = { sampling: greedy, maxTokens: 2, eosTokenIds: [] };
    const { ended, allow } = scheduler.generate(sequence, request, () => {
      if (current === undefined) {
        current = [];
        goes.push(current);
        queueMicrotask(() => {
          current = undefined;
        });
      }
      current.push(sequence);
    });
    allow(2);
    return ended;
  });
  await Promise.all(ended);
  expect(goes).toEqual([made.all, made.all]);
});

test("a reader that throws ends its own generation, and no other", async () => {
  using made = await sequences(2);
  const [a, b] = made.all as [CpuSequence, CpuSequence];
  const faulty = scheduler.generate(a, { sampling: greedy, maxTokens: 3, eosTokenIds: [] }, () => {
    throw new Error("the reader is gone");
  });
  const other = generation(b);
  faulty.allow(3);
  other.allow(3);
  expect(await rejection(faulty.ended)).toMatchObject({ message: "the reader is gone" });
  expect(await other.ended).toBe("max-tokens");
});

test("a generation runs no more steps than it is allowed", async () => {
  using made = await sequences(2);
  const [a, b] = made.all as [CpuSequence, CpuSequence];
  const [slow, other] = [generation(a, { maxTokens: 10 }), generation(b)];
  slow.allow(1);
  other.allow(3);
  expect(await other.ended).toBe("max-tokens");
  expect(slow.told).toHaveLength(1);
  slow.allow(9);
  expect(await slow.ended).toBe("max-tokens");
  expect(slow.told).toHaveLength(10);
});

test("a generation ends with the first eos id, which is part of the history", async () => {
  using made = await sequences(1);
  const [a] = made.all as [CpuSequence];
  const eos = a.best;
  const { allow, ended, told } = generation(a, { eosTokenIds: [eos] });
  allow(3);
  expect(await ended).toBe("eos");
  expect(told.map(({ tokenIds }) => tokenIds)).toEqual([[eos]]);
  expect(a.position).toBe(4);
});

test("a generation that is stopped before a step begins takes no part in it", async () => {
  using made = await sequences(2);
  const [a, b] = made.all as [CpuSequence, CpuSequence];
  const [stopped, kept] = [generation(a), generation(b)];
  stopped.allow(3);
  kept.allow(3);
  stopped.stop();
  expect(await stopped.ended).toBe("stopped");
  await kept.ended;
  expect(a.position).toBe(3);
  expect(steps).toEqual(["b1 last", "b1 last", "b1 last"]);
});

test("a request that fails inside a batch fails alone; the others go on, with the ids that they would have had", async () => {
  using made = await sequences(3);
  const [a, b, c] = made.all as [CpuSequence, CpuSequence, CpuSequence];
  broken = b;
  const all = [generation(a), generation(b), generation(c)];
  for (const { allow } of all) allow(3);
  const outcomes = await Promise.allSettled(all.map(({ ended }) => ended));
  expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect(b.position).toBe(3);
  const generated = all.map(({ told }) => told.flatMap(({ tokenIds }) => tokenIds));
  expect(generated[0]).toHaveLength(3);
  expect(generated[2]).toEqual(generated[0] ?? []);
});

test("a request whose step can't be kept fails alone; the others run no step more than they asked for", async () => {
  using made = await sequences(3);
  const [a, b, c] = made.all as [CpuSequence, CpuSequence, CpuSequence];
  unkept = b;
  const all = [generation(a, { maxTokens: 1 }), generation(b), generation(c)];
  for (const { allow } of all) allow(3);
  const outcomes = await Promise.allSettled(all.map(({ ended }) => ended));
  expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect([a, b, c].map(({ position }) => position)).toEqual([4, 3, 6]);
  expect(all.map(({ told }) => told.length)).toEqual([1, 0, 3]);
});

test("a request whose next id can't be chosen fails before the step, which the others share", async () => {
  using made = await sequences(2);
  const [a, b] = made.all as [CpuSequence, CpuSequence];
  a.logits.fill(Number.NaN);
  const sampled = generation(a, { sampling: { ...greedy, temperature: 1 } });
  const other = generation(b);
  sampled.allow(3);
  other.allow(3);
  expect((await rejection(sampled.ended)).message).toContain("no id can be chosen");
  expect(await other.ended).toBe("max-tokens");
  expect(steps).toEqual(["b1 last", "b1 last", "b1 last"]);
});

test("an append that fails is its own caller's alone", async () => {
  using made = await sequences(2, { empty: true });
  const [a, b] = made.all as [CpuSequence, CpuSequence];
  broken = a;
  const outcomes = await Promise.allSettled([
    scheduler.append(a, ids(50), "last"),
    scheduler.append(b, ids(50), "last"),
  ]);
  expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "fulfilled"]);
});

test("a sequence that is forgotten leaves nothing to run", async () => {
  using made = await sequences(2);
  const [a, b] = made.all as [CpuSequence, CpuSequence];
  const resting = generation(a);
  const refused = rejection(scheduler.append(b, ids(500), "last"));
  await scheduler.between(() => {
    scheduler.forget(a);
    scheduler.forget(b);
  });
  expect(await resting.ended).toBe("stopped");
  expect((await refused).message).toContain("freed");
});
