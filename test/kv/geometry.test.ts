import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { block, chunkLength, geometry, liveRows, oldestInWindow, rowOf, sinkShift } from "../../src/kv/geometry.ts";

const geometries = fc
  .record({ sink: fc.integer({ min: 0, max: 70 }), window: fc.integer({ min: 1, max: 200 }) })
  .map(({ sink, window }) => geometry(sink, window));
const positions = fc.integer({ min: 0, max: 20_000_000 });

describe("geometry", () => {
  test("sink 4 and window 64 take 100 rows: 4 sinks, two blocks of window and the block being written", () => {
    expect(geometry(4, 64)).toEqual({ sink: 4, window: 64, ringTokens: 96, rows: 100 });
  });

  test("a window that is no multiple of the block is rounded up to blocks", () => {
    expect(geometry(4, 28).rows).toBe(4 + 32 + 32);
    expect(geometry(0, 1).rows).toBe(64);
  });

  test("impossible sizes are refused with the value", () => {
    expect(() => geometry(-1, 64)).toThrow("sink must be an integer of 0 or more, not -1");
    expect(() => geometry(4, 0)).toThrow("window must be an integer of 1 or more, not 0");
    expect(() => geometry(1.5, 64)).toThrow("not 1.5");
    expect(() => geometry(4, Number.NaN)).toThrow("not NaN");
  });

  test("whatever is visible at once has rows of its own, and a chunk's rows are none of them", () => {
    fc.assert(
      fc.property(geometries, positions, fc.integer({ min: 1, max: block }), (g, p, wanted) => {
        const length = chunkLength(g, p, wanted);
        const held = new Set<number>();
        for (let i = 0; i < Math.min(g.sink, p); i++) held.add(rowOf(g, i));
        for (let j = oldestInWindow(g, p); j < p; j++) held.add(rowOf(g, j));
        expect(held.size).toBe(liveRows(g, p));
        for (let t = 0; t < length; t++) {
          const row = rowOf(g, p + t);
          expect(held.has(row)).toBe(false);
          expect(row).toBeLessThan(g.rows);
          held.add(row);
        }
      }),
    );
  });

  test("chunks stay inside one block, whatever is asked for", () => {
    const blockOf = (sink: number, p: number) => (p < sink ? -1 : Math.floor((p - sink) / block));
    fc.assert(
      fc.property(geometries, positions, fc.integer({ min: 1, max: 5000 }), (g, p, wanted) => {
        const length = chunkLength(g, p, wanted);
        expect(length).toBeGreaterThan(0);
        expect(length).toBeLessThanOrEqual(Math.min(block, wanted));
        expect(blockOf(g.sink, p + length - 1)).toBe(blockOf(g.sink, p));
      }),
    );
  });

  test("the sinks ride just before the window: no distance exceeds sink + window + block", () => {
    fc.assert(
      fc.property(geometries, positions, (g, p) => {
        const shift = sinkShift(g, p);
        expect(shift).toBe(p < g.sink ? 0 : Math.max(0, Math.floor((p - g.sink) / block) * block - g.window));
        for (let i = 0; i < Math.min(g.sink, p + 1); i++) {
          expect(p - (i + shift)).toBeGreaterThanOrEqual(0);
          expect(p - (i + shift)).toBeLessThan(g.sink + g.window + block);
        }
      }),
    );
  });
});
