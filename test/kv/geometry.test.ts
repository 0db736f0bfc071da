import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  block,
  blockEnd,
  blockStart,
  chunkLength,
  geometry,
  liveRows,
  oldestInWindow,
  ringRowOf,
  sinkShift,
} from "../../src/kv/geometry.ts";

const geometries = fc
  .record({ sink: fc.integer({ min: 0, max: 70 }), window: fc.integer({ min: 1, max: 200 }) })
  .map(({ sink, window }) => geometry(sink, window));
const positions = fc.integer({ min: 0, max: 20_000_000 });

describe("geometry", () => {
  test("sink 4 and window 64 take 100 rows: 4 sinks and two blocks of window in the ring, and the current block", () => {
    expect(geometry(4, 64)).toEqual({ sink: 4, window: 64, ringTokens: 64, ringRows: 68, rows: 100 });
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

  test("whatever is live has a row of its own: the current block's in order, older ones in the ring", () => {
    fc.assert(
      fc.property(geometries, positions, (g, position) => {
        const start = blockStart(g, position);
        const live = Array.from({ length: Math.min(g.sink, position) }, (_, i) => i);
        for (let j = oldestInWindow(g, position); j < position; j++) live.push(j);
        expect(live.length).toBe(liveRows(g, position));
        const ring = live.filter((p) => p < start).map((p) => ringRowOf(g, p));
        expect(new Set(ring).size).toBe(ring.length);
        expect(Math.max(-1, ...ring)).toBeLessThan(g.ringRows);
        expect(live.length - ring.length).toBeLessThanOrEqual(position - start);
        expect(position - start).toBeLessThan(block);
      }),
    );
  });

  test("a block that moves into the ring writes over no live row", () => {
    fc.assert(
      fc.property(geometries, positions, (g, p) => {
        const [start, end] = [blockStart(g, p), blockEnd(g, p)];
        expect(end - start).toBeLessThanOrEqual(block);
        const moved = new Set(Array.from({ length: end - start }, (_, i) => ringRowOf(g, start + i)));
        expect(moved.size).toBe(end - start);
        for (let i = 0; i < Math.min(g.sink, start); i++) expect(moved.has(ringRowOf(g, i))).toBe(false);
        for (let j = oldestInWindow(g, end); j < start; j++) expect(moved.has(ringRowOf(g, j))).toBe(false);
      }),
    );
  });

  test("chunks stay inside one block, whatever is asked for", () => {
    fc.assert(
      fc.property(geometries, positions, fc.integer({ min: 1, max: 5000 }), (g, p, wanted) => {
        const length = chunkLength(g, p, wanted);
        expect(length).toBeGreaterThan(0);
        expect(length).toBeLessThanOrEqual(Math.min(block, wanted));
        expect(blockStart(g, p + length - 1)).toBe(blockStart(g, p));
        if (p < g.sink) expect(p + length).toBeLessThanOrEqual(g.sink);
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
