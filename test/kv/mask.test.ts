import { expect, test } from "bun:test";
import fc from "fast-check";
import { block, blockStart, chunkLength, geometry, ringRowOf } from "../../src/kv/geometry.ts";
import { writeMask } from "../../src/kv/mask.ts";

/** The visible positions of a query, straight from the definition. */
function visible(sink: number, window: number, p: number): number[] {
  return Array.from({ length: p + 1 }, (_, j) => j).filter((j) => j < sink || j >= Math.max(sink, p - window));
}

test("a query sees exactly the rows of its visible positions, for every chunk, position and number of copies", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 40 }),
      fc.integer({ min: 1, max: 100 }),
      fc.integer({ min: 0, max: 700 }),
      fc.integer({ min: 1, max: block }),
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 0, max: 2 }),
      (sink, window, p, wanted, copies, repeated) => {
        const g = geometry(sink, window);
        const asked = chunkLength(g, p, wanted);
        const tokens = asked + repeated;
        const mask = new Float32Array(copies * tokens * g.rows).fill(7);
        writeMask(mask, g, p, tokens, copies, p + asked - 1);
        for (let copy = 0; copy < copies; copy++) {
          for (let t = 0; t < tokens; t++) {
            const start = blockStart(g, p);
            const rowOf = (j: number) => (j < start ? ringRowOf(g, j) : g.ringRows + j - start);
            const rows = new Set(visible(sink, window, p + Math.min(t, asked - 1)).map(rowOf));
            const expected = Array.from({ length: g.rows }, (_, row) => (rows.has(row) ? 0 : Number.NEGATIVE_INFINITY));
            const from = (copy * tokens + t) * g.rows;
            expect(Array.from(mask.subarray(from, from + g.rows))).toEqual(expected);
          }
        }
      },
    ),
  );
});
