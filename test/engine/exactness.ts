/**
 * INV-3: the logits of a token are the same bits however its history came about. The reference runs one token at a
 * time, alone; every plan runs the same history cut at random, partly appended and partly generated, in steps shared
 * with other plans that are somewhere else in it.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Drafter, mostGuesses } from "../../src/engine/drafts/drafter.ts";
import {
  type Device,
  greedy,
  type KvFormat,
  type Quantization,
  type Sampling,
  type SequenceState,
} from "../../src/engine/engine.ts";
import type { Guesser } from "../../src/engine/speculation.ts";
import { testSeed } from "../seed.ts";
import { seededRandom } from "../seeded-random.ts";
import { generateIds } from "./generating.ts";
import { loadCore, quantizations, type TestEngine } from "./models.ts";

/** Of each test: there are two for each way of storing each model, so that some 860 run in all; at night, 36,000. */
const everyPlan = Number(process.env.KAKEYA_EXACTNESS_PLANS ?? 24);
const together = 4;
const sampled: Sampling = { ...greedy, temperature: 1.5, seed: 5n };

/** What guesses for the sequences of the plans: in turn always right, always wrong, half right, and a real drafter. */
function guessing(history: readonly number[], vocabSize: number, random: () => number): () => Guesser {
  let made = 0;
  return () => {
    const rightness = [1, 0, 0.5, undefined][made++ % 4];
    if (rightness === undefined) return new Drafter();
    let position = 0;
    let wished = 0;
    return {
      push: () => void position++,
      // So that steps have any number of guesses, whatever rows cost.
      expected: (count) => (count === wished ? 1e6 : 1),
      draft: (count) =>
        Array.from({ length: count }, (_, i) => {
          const next = history[position + i] ?? 0;
          return random() < rightness ? next : (next + 1) % vocabSize;
        }),
      settle: () => {
        wished = Math.floor(random() * (mostGuesses + 1));
      },
      clear: () => {
        position = 0;
        wished = 0;
      },
    };
  };
}

/** How weights and cache are stored. */
const stored = (["f32", "q8"] as const).flatMap((kv) => quantizations.map((weights) => [weights, kv] as const));

/** What is tested: on a slow device less, and with guesses only. */
interface Extent {
  device: Device;
  plans: number;
  stored: readonly (readonly [Quantization, KvFormat])[];
  tokens: number;
  window: number;
  /** The most tokens that are appended at once. */
  longest: number;
  onlyGuessed: boolean;
}

/** The tests of one model; each model has a file of its own, so that they run side by side. */
export function testExactness(model: string, extent: Partial<Extent> = {}): void {
  const { device = "cpu", plans = everyPlan, tokens = 420, longest = 300, onlyGuessed = false } = extent;
  describe.each(extent.stored ?? stored)("in %s, cache in %s", (quantization, kv) => {
    // A window that is no multiple of the block, so that the ring has rows to spare; it wraps many times.
    const window = extent.window ?? (model === "kakeya-tiny" ? 64 : 45);
    const random = seededRandom(testSeed);
    const history: number[] = [];
    const alone = loadCore(model, { device, quantization, kv, window, capacity: together + 1 });
    const guessed = alone.then(({ info }) =>
      loadCore(model, {
        device,
        quantization,
        kv,
        window,
        capacity: together,
        newGuesser: guessing(history, info.vocabSize, random),
      }),
    );
    afterAll(async () => {
      for (const engine of [alone, guessed]) await (await engine).close();
    });

    /** By position: how its id was chosen; undefined for one that was appended. */
    const chosen: (Sampling | undefined)[] = [];
    const logits: (number | bigint)[] = [];
    let reference: SequenceState;

    /** Random spans, and spans in which the model continues itself, greedily or not; one token at a time, alone. */
    async function walkAlone(): Promise<void> {
      const core = await alone;
      expect(core.info.exact).toBe(true);
      const sequence = await core.create();
      while (history.length < tokens) {
        const sampling = history.length > 0 && random() < 0.5 ? (random() < 0.5 ? greedy : sampled) : undefined;
        for (let left = 1 + Math.floor(random() * 40); left > 0; left--) {
          if (sampling) history.push(...(await generateIds(core, sequence, 1, sampling)).ids);
          else {
            const token = Math.floor(random() * core.info.vocabSize);
            await core.append(sequence, Uint32Array.of(token));
            history.push(token);
          }
          chosen.push(sampling);
          logits.push(Bun.hash(core.logits(sequence)));
        }
      }
      reference = await core.state(sequence);
      expect(reference.computedTokens).toBe(history.length);
      await core.free(sequence);
    }

    /** The same history in `plans` random ways, some at a time; generated spans in steps that they share. */
    async function followPlans(core: TestEngine): Promise<void> {
      const running: { sequence: number; done: number; plan: number }[] = [];
      const spanOf = (from: number) => {
        let to = from;
        while (to < history.length && chosen[to] === chosen[from]) to++;
        return to - from;
      };
      const upTo = (most: number) => 1 + Math.floor(random() * most);
      let started = 0;
      while (started < plans || running.length > 0) {
        while (running.length < together && started < plans) {
          running.push({ sequence: await core.create(), done: 0, plan: started++ });
        }
        const generating = running.filter(({ done }) => chosen[done] && random() < 0.7);
        const generations = generating.map(async (run) => {
          const count = Math.min(upTo(random() < 0.5 ? 1 : 20), spanOf(run.done));
          const { ids } = await generateIds(core, run.sequence, count, chosen[run.done]);
          const expected = history.slice(run.done, run.done + count);
          if (!Bun.deepEquals(ids, expected)) throw new Error(`plan ${run.plan}: other ids from ${run.done} on`);
          run.done += count;
        });
        await Promise.all(generations);
        const run = running[Math.floor(random() * running.length)];
        if (generating.length === 0 && run) {
          const length = Math.min(upTo(random() < 0.2 ? longest : Math.min(40, longest)), history.length - run.done);
          await core.append(run.sequence, Uint32Array.from(history.slice(run.done, run.done + length)));
          run.done += length;
        }
        for (const run of [...running]) {
          if (run.done > 0 && Bun.hash(core.logits(run.sequence)) !== logits[run.done - 1]) {
            throw new Error(`plan ${run.plan}: other bits at position ${run.done - 1} (seed ${testSeed})`);
          }
          if (run.done < history.length) continue;
          expect(await core.state(run.sequence)).toEqual(reference);
          await core.free(run.sequence);
          running.splice(running.indexOf(run), 1);
        }
      }
      expect(started).toBe(plans);
    }

    beforeAll(walkAlone, 600_000);

    test.skipIf(onlyGuessed)(
      `${plans} random plans give the bits of one token at a time (seed ${testSeed})`,
      async () => {
        await followPlans(await alone);
      },
      600_000,
    );

    test(`${plans} random plans with guesses give the same ids, bits and counts (seed ${testSeed})`, async () => {
      await followPlans(await guessed);
    }, 600_000);
  });
}
