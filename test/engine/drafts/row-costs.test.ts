import { expect, test } from "bun:test";
import fc from "fast-check";
import { RowCosts } from "../../../src/engine/drafts/row-costs.ts";

const times = fc.array(
  fc.tuple(fc.constantFrom(1, 2, 3, 4, 7, 8, 16, 32, 64, 99), fc.double({ min: 0.01, max: 1000, noNaN: true })),
  { maxLength: 60 },
);

test("More rows never cost less, whatever was measured, and before anything was", () => {
  fc.assert(
    fc.property(times, (times) => {
      const costs = new RowCosts();
      for (const [rows, ms] of times) costs.record(rows, ms);
      let before = 0;
      for (let rows = 1; rows <= 128; rows++) {
        expect(costs.msOf(rows)).toBeGreaterThanOrEqual(before * (1 - 1e-12));
        expect(costs.msOf(rows)).toBeGreaterThan(0);
        before = costs.msOf(rows);
      }
    }),
    { seed: 5 },
  );
});

test("A step that something held up does not count, and a machine that became slower does", () => {
  const costs = new RowCosts();
  for (let i = 0; i < 20; i++) costs.record(4, i % 5 === 0 ? 900 : 10);
  expect(costs.msOf(4)).toBeCloseTo(10, 10);
  for (let i = 0; i < 20; i++) costs.record(4, 30);
  expect(costs.msOf(4)).toBeCloseTo(30, 10);
});

test("What lies between two measured sizes is interpolated, and what was not measured has the usual ratio", () => {
  const costs = new RowCosts();
  costs.record(4, 20);
  costs.record(8, 40);
  expect(costs.msOf(6)).toBe(30);
  expect(costs.msOf(16) / costs.msOf(8)).toBeCloseTo(4 / 2.2, 10);
  expect(costs.msOf(1)).toBeCloseTo(20 / 1.4, 10);
});
