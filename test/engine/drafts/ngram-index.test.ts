import { heapStats } from "bun:jsc";
import { expect, test } from "bun:test";
import fc from "fast-check";
import { type Match, NgramIndex, rememberedIds, suffixLengths } from "../../../src/engine/drafts/ngram-index.ts";

/** Histories that repeat themselves: spans of new ids, and copies of earlier spans. */
const history = fc
  .array(
    fc.oneof(
      fc.record({ fresh: fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 1, maxLength: 30 }) }),
      fc.record({ back: fc.integer({ min: 1, max: 400 }), length: fc.integer({ min: 1, max: 60 }) }),
      fc.record({ fill: fc.integer({ min: 1, max: rememberedIds }), step: fc.integer({ min: 1, max: 50_000 }) }),
    ),
    { maxLength: 30 },
  )
  .map((spans) => {
    const ids: number[] = [];
    for (const span of spans) {
      if ("fresh" in span) ids.push(...span.fresh);
      else if ("back" in span) for (let i = 0; i < span.length; i++) ids.push(ids.at(-span.back) ?? 0);
      else for (let i = 0; i < span.fill; i++) ids.push((i * span.step) % 151_936);
    }
    return ids;
  });

/** The longest of the lengths with which the history's end was in the last ids before, and the last place where. */
function search(ids: readonly number[]): Match | undefined {
  const last = ids.length - 1;
  for (const length of suffixLengths) {
    const first = Math.max(0, ids.length - rememberedIds);
    for (let end = last - 1; end - length + 1 >= first; end--) {
      let same = 0;
      while (same < length && ids[end - same] === ids[last - same]) same++;
      if (same === length) return { length, end };
    }
  }
  return undefined;
}

test("The match is what a search of all remembered ids finds", () => {
  fc.assert(
    fc.property(history, (ids) => {
      const index = new NgramIndex();
      ids.forEach((id, i) => {
        index.push(id);
        // Everywhere would take minutes: the search is quadratic.
        if (i % 61 === 0 || ids.length - i < 40) expect(index.match).toEqual(search(ids.slice(0, i + 1)));
      });
    }),
    { seed: 1, numRuns: 60 },
  );
});

test("What follows is what followed the match, or goes on repeating where the history ends", () => {
  fc.assert(
    fc.property(history, fc.integer({ min: 0, max: 32 }), (ids, count) => {
      const index = new NgramIndex();
      for (const id of ids) index.push(id);
      const { match } = index;
      const following = index.following(count);
      expect(following).toHaveLength(match ? count : 0);
      if (!match) return;
      const known = [...ids];
      for (let i = 1; i <= count; i++) known.push(known[match.end + i] ?? -1);
      expect(following).toEqual(known.slice(ids.length));
      const remembered = new Set(ids.slice(-rememberedIds));
      expect(following.every((id) => remembered.has(id))).toBe(true);
    }),
    { seed: 2 },
  );
});

test("A repetition is proposed whatever its period", () => {
  for (const period of [1, 2, 3, 7, 40]) {
    const index = new NgramIndex();
    const at = (i: number) => 1000 + (i % period);
    for (let i = 0; i < 3 * period + 16; i++) index.push(at(i));
    expect(index.following(9)).toEqual(Array.from({ length: 9 }, (_, i) => at(3 * period + 16 + i)));
  }
});

test("Memory stays the same, however long the history", () => {
  const index = new NgramIndex();
  const pushed = (count: number) => {
    for (let i = 0; i < count; i++) index.push((i * 7919) % 151_936);
    Bun.gc(true);
    const { heapSize, extraMemorySize } = heapStats();
    return heapSize + extraMemorySize;
  };
  const before = pushed(10_000);
  expect(pushed(300_000) - before).toBeLessThan(300_000); // less than a byte an id
});
