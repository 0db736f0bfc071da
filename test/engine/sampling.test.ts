import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { sample, uniform } from "../../src/engine/sampling.ts";

const logitsOf = (min: number, max: number) =>
  fc
    .array(fc.float({ min: Math.fround(min), max: Math.fround(max), noNaN: true }), { minLength: 1, maxLength: 300 })
    .map((a) => Float32Array.from(a));
const settings = fc.record({
  temperature: fc.double({ min: 0.05, max: 5, noNaN: true }),
  topK: fc.integer({ min: 0, max: 40 }),
  topP: fc.double({ min: 0.01, max: 1, noNaN: true }),
  seed: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
});

/** What may be picked, by the plainest reading of the definition: sort everything, cut by count, cut by mass. */
function allowed(
  logits: Float32Array,
  { temperature, topK, topP }: { temperature: number; topK: number; topP: number },
): Set<number> {
  const top = Math.max(...logits);
  const weight = (id: number) => Math.exp(((logits[id] ?? 0) - top) / temperature);
  const sorted = [...logits.keys()].sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0) || a - b);
  const byCount = topK === 0 ? sorted : sorted.slice(0, topK);
  const total = byCount.reduce((sum, id) => sum + weight(id), 0);
  const result = new Set<number>();
  let sum = 0;
  for (const id of byCount) {
    if (result.size > 0 && sum >= topP * total * (1 + 1e-12)) break;
    result.add(id);
    sum += weight(id);
  }
  return result;
}

describe("sampling", () => {
  test.each([[[1, Number.NaN, 3]], [[1, Infinity]], [[-Infinity, -Infinity]]])(
    "refuses logits that no id can be chosen from: %p",
    (logits) => {
      const sampling = { temperature: 1, topK: 2, topP: 0.9, seed: 1n };
      expect(() => sample(Float32Array.from(logits), sampling, 7)).toThrow(/largest logit is .*: no id can be chosen/);
    },
  );

  test("picks only what top-k and top-p leave, whatever the logits", () => {
    fc.assert(
      fc.property(logitsOf(-200, 200), settings, fc.nat(), (logits, sampling, position) => {
        expect(allowed(logits, sampling).has(sample(logits, sampling, position))).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  test("top-k 1 is greedy", () => {
    fc.assert(
      fc.property(logitsOf(-5, 5), settings, fc.nat(), (logits, sampling, position) => {
        expect(sample(logits, { ...sampling, topK: 1 }, position)).toBe(logits.indexOf(Math.max(...logits)));
      }),
    );
  });

  test("depends on logits, seed and position alone", () => {
    fc.assert(
      fc.property(logitsOf(-5, 5), settings, fc.nat(), (logits, sampling, position) => {
        expect(sample(logits.slice(), { ...sampling }, position)).toBe(sample(logits, sampling, position));
      }),
    );
  });

  test("gives each id its share of the draws", () => {
    const logits = Float32Array.from([0, 1, 2, -1, 0.5]);
    const weights = Array.from(logits, (l) => Math.exp(l / 0.8));
    const total = weights.reduce((a, b) => a + b, 0);
    const draws = 40_000;
    const counts = new Array<number>(logits.length).fill(0);
    for (let position = 0; position < draws; position++) {
      const id = sample(logits, { temperature: 0.8, topK: 0, topP: 1, seed: 7n }, position);
      counts[id] = (counts[id] ?? 0) + 1;
    }
    counts.forEach((count, id) => {
      const share = (weights[id] ?? 0) / total;
      expect(Math.abs(count - draws * share)).toBeLessThan(6 * Math.sqrt(draws * share * (1 - share)));
    });
  });
});

describe("the random number of a position", () => {
  test("lies in [0, 1) and spreads evenly over positions and seeds", () => {
    for (const bucketsOf of [(i: number) => uniform(1n, i), (i: number) => uniform(BigInt(i), 1)]) {
      const buckets = new Array<number>(16).fill(0);
      for (let i = 0; i < 16_000; i++) {
        const value = bucketsOf(i);
        expect(value >= 0 && value < 1).toBe(true);
        const bucket = Math.floor(value * 16);
        buckets[bucket] = (buckets[bucket] ?? 0) + 1;
      }
      for (const count of buckets) expect(Math.abs(count - 1000)).toBeLessThan(6 * Math.sqrt(1000));
    }
  });

  test("is fixed for ever: a seed that a user wrote down gives the same ids next year", () => {
    expect([uniform(0n, 0), uniform(42n, 1), uniform((1n << 64n) - 1n, 123_456)]).toMatchInlineSnapshot(`
      [
        0.8833108082136426,
        0.1603653875985772,
        0.5333859512725483,
      ]
    `);
  });
});
