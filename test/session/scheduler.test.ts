import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { type Engine, greedy, type SlabId } from "../../src/engine/engine.ts";
import { Scheduler } from "../../src/session/scheduler.ts";
import { rejection } from "../rejection.ts";
import { testEngine } from "../serve/serving.ts";

let engine: Engine;
let steps: string[];
let scheduler: Scheduler;
beforeAll(async () => {
  engine = await testEngine({ capacity: 8 });
});
afterAll(() => engine.close());
beforeEach(() => {
  steps = [];
  scheduler = new Scheduler(recording(engine, steps));
});

/** The engine itself, with its steps written down. */
function recording(real: Engine, log: string[]): Engine {
  const written = Object.create(real) as Engine;
  written.append = (slab, tokenIds) => {
    log.push(`append ${slab}: ${tokenIds.length}`);
    return real.append(slab, tokenIds);
  };
  written.decode = (requests) => {
    log.push(`decode ${requests.map(({ slab }) => slab).join("+")}`);
    return real.decode(requests);
  };
  return written;
}

async function slabs(count: number): Promise<SlabId[]> {
  return Promise.all(Array.from({ length: count }, () => engine.createSlab()));
}

async function free(ids: SlabId[]): Promise<void> {
  await Promise.all(ids.map((slab) => engine.freeSlab(slab)));
}

const nothing = () => {};
const ids = (length: number) => new Uint32Array(length).fill(7);

test("an append runs block by block and tells each slice", async () => {
  const [slab] = (await slabs(1)) as [SlabId];
  const seen: number[] = [];
  await scheduler.prefill(slab, 0, ids(80), (ran, state) => {
    seen.push(ran);
    expect(state.position).toBe(seen.reduce((sum, n) => sum + n));
  });
  expect(seen).toEqual([4, 32, 32, 12]);
  await free([slab]);
});

test("appends take turns, so that a long one does not hold up a short one", async () => {
  const [long, short] = (await slabs(2)) as [SlabId, SlabId];
  await Promise.all([scheduler.prefill(long, 0, ids(100), nothing), scheduler.prefill(short, 0, ids(20), nothing)]);
  expect(steps).toEqual([
    `append ${long}: 4`,
    `append ${short}: 4`,
    `append ${long}: 32`,
    `append ${short}: 16`,
    `append ${long}: 32`,
    `append ${long}: 32`,
  ]);
  await free([long, short]);
});

test("sessions that generate share each step, and an append gets one slice between two steps", async () => {
  const [a, b, c] = (await slabs(3)) as [SlabId, SlabId, SlabId];
  for (const slab of [a, b]) await engine.append(slab, ids(3));
  const generate = async (slab: SlabId) => {
    for (let i = 0; i < 3; i++) await scheduler.decode(slab, greedy);
  };
  await Promise.all([generate(a), generate(b), scheduler.prefill(c, 0, ids(100), nothing)]);
  expect(steps).toEqual([
    `decode ${a}+${b}`,
    `append ${c}: 4`,
    `decode ${a}+${b}`,
    `append ${c}: 32`,
    `decode ${a}+${b}`,
    `append ${c}: 32`,
    `append ${c}: 32`,
  ]);
  await free([a, b, c]);
});

test("who gives up before a step begins takes no part in it", async () => {
  const [a, b] = (await slabs(2)) as [SlabId, SlabId];
  for (const slab of [a, b]) await engine.append(slab, ids(3));
  const abort = new AbortController();
  const given = scheduler.decode(a, greedy, abort.signal);
  const kept = scheduler.decode(b, greedy);
  abort.abort(new Error("gave up"));
  expect((await rejection(given)).message).toContain("gave up");
  expect((await kept).state.position).toBe(4);
  expect((await engine.state(a)).position).toBe(3);
  expect(steps).toEqual([`decode ${b}`]);
  await free([a, b]);
});

test("an error of the engine reaches those it concerns, and the others go on", async () => {
  const [good] = (await slabs(1)) as [SlabId];
  const bad = 999_999;
  const outcomes = await Promise.allSettled([
    scheduler.prefill(bad, 0, ids(50), nothing),
    scheduler.prefill(good, 0, ids(50), nothing),
  ]);
  expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "fulfilled"]);
  expect(scheduler.depth).toBe(0);
  await free([good]);
});

test("a callback that throws ends its append", async () => {
  const [slab] = (await slabs(1)) as [SlabId];
  const refused = scheduler.prefill(slab, 0, ids(50), () => {
    throw new Error("no more");
  });
  expect((await rejection(refused)).message).toContain("no more");
  expect(steps).toEqual([`append ${slab}: 4`]);
  await free([slab]);
});
