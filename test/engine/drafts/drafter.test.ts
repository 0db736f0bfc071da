import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Drafter, draftLength, mostGuesses } from "../../../src/engine/drafts/drafter.ts";
import { type StepCost, stepMs, walk } from "../../../tools/draft-walk.ts";
import { seededRandom } from "../../seeded-random.ts";

const evenRows: StepCost = { name: "even", rowMultiple: 2, ms: { 2: 14.7, 4: 19.7, 8: 32.2, 16: 58.2 } };
const anyRows: StepCost = { name: "any", rowMultiple: 1, ms: { 1: 17.5, 2: 18.5, 4: 28.2, 8: 45.8, 16: 81.8 } };
/** A machine on which a row more costs nearly a step more. */
const dearRows: StepCost = { name: "dear", rowMultiple: 1, ms: { 1: 10, 2: 19, 4: 37, 8: 73, 16: 145 } };

const stream = (ids: number[]) => ({ name: "", segments: [{ generated: true, ids: Uint32Array.from(ids) }] });

describe("Guessing", () => {
  test("costs next to nothing where every guess seems good and none is", () => {
    const random = seededRandom(5);
    // Every pair of ids was there before, and says nothing about the next one.
    for (const vocabulary of [4, 8, 20, 60]) {
      const ids = Array.from({ length: 6000 }, () => Math.floor(random() * vocabulary));
      for (const cost of [evenRows, anyRows, dearRows]) {
        const { ms, plainMs } = walk(stream(ids), stepMs(cost));
        expect(plainMs / ms).toBeGreaterThan(0.97);
      }
    }
  });

  test("costs next to nothing where a guess is always wrong", () => {
    // Each pair comes back, and each time with another id after it.
    const ids = Array.from({ length: 4000 }, (_, i) => (i % 3 === 2 ? 1000 + i : i % 3));
    for (const cost of [evenRows, anyRows, dearRows]) {
      const { ms, plainMs } = walk(stream(ids), stepMs(cost));
      expect(plainMs / ms).toBeGreaterThan(0.97);
    }
  });

  test("runs far ahead in a text that repeats itself", () => {
    const ids = Array.from({ length: 6000 }, (_, i) => (i % 300) * 7);
    const { ms, plainMs, accepted, steps } = walk(stream(ids), stepMs(evenRows));
    expect(plainMs / ms).toBeGreaterThan(2.5);
    expect(accepted / steps).toBeGreaterThan(6);
  });

  test("pays on dear rows, too, once guesses are known to be right", () => {
    const ids = Array.from({ length: 3000 }, (_, i) => (i % 300) * 7);
    const { ms, plainMs } = walk(stream(ids), stepMs(dearRows));
    expect(plainMs / ms).toBeGreaterThan(1.05);
  });

  test("is a function of ids and outcomes", () => {
    const random = seededRandom(6);
    const ids = Array.from({ length: 3000 }, () => Math.floor(random() ** 2 * 30));
    expect(walk(stream(ids), stepMs(anyRows))).toEqual(walk(stream(ids), stepMs(anyRows)));
  });

  test("counts every id once", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 300 }), (ids) => {
        const { tokens, steps, drafted, accepted } = walk(stream(ids), stepMs(evenRows));
        expect(tokens).toBe(ids.length);
        expect(steps + accepted).toBe(ids.length);
        expect(accepted).toBeLessThanOrEqual(drafted);
        expect(drafted).toBeLessThanOrEqual(mostGuesses * steps);
      }),
      { seed: 3 },
    );
  });
});

describe("The number of guesses", () => {
  const costs = fc.array(fc.double({ min: 0.1, max: 10, noNaN: true }), { minLength: 200, maxLength: 200 });
  const gains = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 16, maxLength: 16 });

  test("commits most ids a millisecond, over all sessions of the step", () => {
    fc.assert(
      fc.property(fc.array(gains, { minLength: 1, maxLength: 4 }), costs, (sessions, extra) => {
        const msOf = (rows: number) => extra.slice(0, rows).reduce((a, b) => a + b, 0);
        const expected = (session: number[], count: number) => 1 + session.slice(0, count).reduce((a, b) => a + b, 0);
        const drafters = sessions.map((session) => ({ expected: (count: number) => expected(session, count) }));
        const rate = (count: number) =>
          drafters.reduce((sum, drafter) => sum + drafter.expected(count), 0) / msOf(drafters.length * (1 + count));
        const best = Math.max(...Array.from({ length: 8 }, (_, count) => rate(count)));
        expect(rate(draftLength(drafters, msOf, 7))).toBe(best);
      }),
      { seed: 4 },
    );
  });

  test("is none without a match, and never more than what is left", () => {
    const drafter = new Drafter();
    for (const id of [1, 2, 3, 4]) drafter.push(id);
    expect(draftLength([drafter], () => 1)).toBe(0);
    for (const id of [1, 2, 3]) drafter.push(id);
    expect(draftLength([drafter], () => 1, 2)).toBe(2);
    expect(drafter.draft(2)).toEqual([4, 1]);
  });
});

test("A cleared drafter guesses like a new one", () => {
  const ids = fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 200 });
  const settled = fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 200 });
  fc.assert(
    fc.property(ids, settled, ids, (before, accepted, after) => {
      const cleared = new Drafter();
      for (const [i, id] of before.entries()) {
        cleared.push(id);
        if (cleared.expected(3) > 1) cleared.settle(3, accepted[i] ?? 0);
      }
      cleared.clear();
      const fresh = new Drafter();
      for (const id of after) {
        expect(cleared.draft(5)).toEqual(fresh.draft(5));
        expect(cleared.expected(5)).toBe(fresh.expected(5));
        for (const drafter of [cleared, fresh]) drafter.push(id);
      }
    }),
    { seed: 6 },
  );
});
