/** What a sequence is saved as makes the same sequence elsewhere: the bits of all that follows are the same. */
import { afterAll, describe, expect, test } from "bun:test";
import { ForeignSequence, greedy, type SavedSequence } from "../../src/engine/engine.ts";
import { rejection } from "../rejection.ts";
import { testSeed } from "../seed.ts";
import { seededRandom } from "../seeded-random.ts";
import { generateIds } from "./generating.ts";
import { loadCore, quantizations, type TestEngine } from "./models.ts";

const sampled = { ...greedy, temperature: 1.5, seed: 11n };

/** Appends and generates at random, `tokens` in all; the same random numbers do the same. */
async function walk(core: TestEngine, sequence: number, random: () => number, tokens: number): Promise<number[]> {
  const ids: number[] = [];
  while (ids.length < tokens) {
    const count = Math.min(1 + Math.floor(random() * 50), tokens - ids.length);
    if (random() < 0.5) {
      const given = Uint32Array.from({ length: count }, () => Math.floor(random() * core.info.vocabSize));
      await core.append(sequence, given);
      ids.push(...given);
    } else {
      ids.push(...(await generateIds(core, sequence, count, random() < 0.5 ? greedy : sampled)).ids);
    }
  }
  return ids;
}

/** How weights and cache are stored. */
const stored = [...quantizations.map((each) => [each, "f32"] as const), ["q8", "q8"] as const];

describe.each(stored)("in %s, cache in %s", (quantization, kv) => {
  const engines = ["here", "elsewhere"].map(() =>
    loadCore("llama3-rope", { quantization, kv, window: 45, capacity: 3 }),
  );
  afterAll(async () => {
    for (const engine of engines) await (await engine).close();
  });

  test(`a sequence that is saved at any moment goes on elsewhere with the same bits (seed ${testSeed})`, async () => {
    const [here, elsewhere] = (await Promise.all(engines)) as [TestEngine, TestEngine];
    const random = seededRandom(testSeed);
    const other = await elsewhere.create(); // so that the loaded one is at another place
    for (let round = 0; round < 25; round++) {
      const original = await here.create();
      await here.append(original, Uint32Array.of(round));
      await walk(here, original, random, Math.floor(random() * 300));
      const loaded = await elsewhere.load(structuredClone(await here.save(original)));
      const forked = await here.fork(original);
      expect(await elsewhere.state(loaded)).toEqual(await here.state(original));
      const more = Math.floor(random() * 2 ** 31);
      const runs = [
        walk(here, original, seededRandom(more), 150),
        walk(elsewhere, loaded, seededRandom(more), 150),
        walk(here, forked, seededRandom(more), 150),
      ];
      const [ids, idsElsewhere, idsForked] = await Promise.all(runs);
      expect(idsElsewhere).toEqual(ids ?? []);
      expect(idsForked).toEqual(ids ?? []);
      expect(Bun.hash(elsewhere.logits(loaded))).toBe(Bun.hash(here.logits(original)));
      const saved = await here.save(original);
      expect(await elsewhere.save(loaded)).toEqual(saved);
      expect(await here.save(forked)).toEqual(saved);
      await elsewhere.free(loaded);
      await here.free(original);
      await here.free(forked);
    }
    await elsewhere.free(other);
  });

  test("what was computed by something else is refused, naming both; what is damaged is refused; no place is lost", async () => {
    const [core] = (await Promise.all(engines)) as [TestEngine];
    const sequence = await core.create();
    await core.append(sequence, new Uint32Array(100));
    const saved = await core.save(sequence);
    const changed = (facts: Partial<SavedSequence["facts"]>) =>
      core.load({ ...saved, facts: { ...saved.facts, ...facts } });
    const others: readonly Partial<SavedSequence["facts"]>[] = [
      { fingerprint: "another" },
      { window: 46 },
      { sink: 3 },
      { device: "gpu" },
      { format: 99 },
    ];
    for (const facts of others) {
      const error = await rejection(changed(facts));
      expect(error).toBeInstanceOf(ForeignSequence);
      const [name, value] = Object.entries(facts)[0] ?? [];
      expect(error.message).toContain(`has ${name} ${value}, and this engine`);
    }
    for (const length of [0, 1, saved.body.length - 1, saved.body.length - 4]) {
      expect((await rejection(core.load({ ...saved, body: saved.body.slice(0, length) }))).name).toBe("RangeError");
    }
    expect((await rejection(changed({ position: -5 }))).name).toBe("RangeError");
    for (let i = 0; i < 3; i++) await core.free(await core.load(saved));
    await core.free(sequence);
  });
});
