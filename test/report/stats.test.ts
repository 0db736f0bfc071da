import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { mean, percentile, select, splitMix32, thin, trend } from "../../src/report/stats.ts";

const numbers = fc.array(fc.integer({ min: -1e9, max: 1e9 }), { minLength: 1, maxLength: 60 });

/** The definition: the median of the slopes of all pairs. */
function theilSenByDefinition(x: Float64Array, y: Float64Array): number {
  const slopes: number[] = [];
  for (const [i, xi] of x.entries()) {
    for (let j = i + 1; j < x.length; j++) {
      const distance = (x[j] ?? 0) - xi;
      if (distance !== 0) slopes.push(((y[j] ?? 0) - (y[i] ?? 0)) * (1 / distance));
    }
  }
  slopes.sort((a, b) => a - b);
  const half = slopes.length >> 1;
  const upper = slopes[half] ?? Number.NaN;
  return slopes.length % 2 === 1 ? upper : ((slopes[half - 1] ?? Number.NaN) + upper) / 2;
}

describe("percentile", () => {
  test("interpolates between neighbours and is null when there is nothing", () => {
    expect(percentile([3, 1, 2], 0.5)).toBe(2);
    expect(percentile([1, 2], 0.95)).toBeCloseTo(1.95, 12);
    expect(percentile([7], 0.95)).toBe(7);
    expect(percentile([], 0.5)).toBeNull();
  });

  test("whatever the numbers: lies within them, grows with p, and leaves its argument alone", () => {
    fc.assert(
      fc.property(numbers, fc.double({ noNaN: true, min: 0, max: 1 }), (values, p) => {
        const before = [...values];
        const at = percentile(values, p) ?? Number.NaN;
        expect(values).toEqual(before);
        expect(at).toBeGreaterThanOrEqual(Math.min(...values));
        expect(at).toBeLessThanOrEqual(Math.max(...values));
        expect(percentile(values, 1) ?? 0).toBeGreaterThanOrEqual(at);
      }),
    );
  });
});

test("the mean of nothing is null", () => {
  expect(mean([])).toBeNull();
  expect(mean([1, 2, 6])).toBe(3);
});

test("select finds what sorting would, whatever the numbers and the rank", () => {
  fc.assert(
    fc.property(numbers, fc.nat(), (values, nat) => {
      const k = nat % values.length;
      const reordered = Float64Array.from(values);
      const found = select(reordered, k);
      expect(found).toBe(Float64Array.from(values).sort()[k] ?? Number.NaN);
      expect(reordered.subarray(0, k).every((v) => v <= found)).toBe(true);
      expect(reordered.subarray(k).every((v) => v >= found)).toBe(true);
    }),
  );
});

describe("trend", () => {
  const random = splitMix32(5);
  const noisy = (n: number, slope: number, noise: number) => ({
    x: Float64Array.from({ length: n }, (_, i) => i),
    y: Float64Array.from({ length: n }, (_, i) => 10 + slope * i + noise * (random() - 0.5)),
  });

  test("is the median slope of all pairs, whatever the points", () => {
    const points = fc.array(fc.tuple(fc.nat(50), fc.integer({ min: -1000, max: 1000 })), {
      minLength: 3,
      maxLength: 40,
    });
    fc.assert(
      fc.property(points, fc.integer({ min: 1, max: 8 }), (xy, period) => {
        const series = { x: Float64Array.from(xy, ([x]) => x), y: Float64Array.from(xy, ([, y]) => y) };
        const found = trend(series, period);
        if (new Set(series.x).size < 3) {
          expect(found).toBeNull();
        } else {
          expect(found?.slope).toBe(theilSenByDefinition(series.x, series.y));
          expect(found?.low).toBeLessThanOrEqual(found?.slope ?? Number.NaN);
          expect(found?.high).toBeGreaterThanOrEqual(found?.slope ?? Number.NaN);
        }
      }),
      { numRuns: 40 },
    );
  });

  test("finds an exact line with no doubt at all, short or thinned", () => {
    for (const n of [3, 20, 120, 121, 480, 5000]) {
      const found = trend(noisy(n, 0.25, 0), 6);
      expect(found?.slope).toBeCloseTo(0.25, 9);
      expect((found?.high ?? 1) - (found?.low ?? 0)).toBeLessThan(1e-9);
    }
  });

  test("is not moved by a tenth of wild outliers", () => {
    const series = noisy(200, 0.01, 0.1);
    const wild = { x: series.x, y: series.y.map((y, i) => (i % 10 === 3 ? y * 50 : y)) };
    expect(trend(wild, 6)?.slope).toBeCloseTo(0.01, 3);
  });

  test("its interval holds the true slope about as often as it says", () => {
    for (const n of [20, 40]) {
      const held = Array.from({ length: 100 }, () => trend(noisy(n, 0.02, 1), 6)).filter(
        (found) => found !== null && found.low <= 0.02 && found.high >= 0.02,
      );
      expect(held.length).toBeGreaterThanOrEqual(85);
    }
  });

  test("differences between the messages of a rotation don't move a thinned series", () => {
    const series = noisy(600, 0, 0);
    const periodic = { x: series.x, y: series.y.map((y, i) => y + (i % 6)) };
    expect(trend(periodic, 6)).toEqual({ slope: 0, low: 0, high: 0 });
  });

  test("gives the same bits again", () => {
    const series = noisy(300, 0.1, 1);
    expect(trend(series, 6)).toEqual(trend(series, 6));
  });

  test("a rotation longer than the run leaves blocks of a third of it", () => {
    expect(trend(noisy(30, 1, 0.01), 1000)?.slope).toBeCloseTo(1, 2);
  });

  test("nothing is said of fewer than three moments", () => {
    expect(trend({ x: new Float64Array(0), y: new Float64Array(0) }, 6)).toBeNull();
    expect(trend({ x: Float64Array.of(1, 1, 2, 2), y: Float64Array.of(1, 2, 3, 4) }, 6)).toBeNull();
  });
});

test("thinning keeps every point: a short run at the end joins the one before it", () => {
  const series = { x: Float64Array.of(0, 1, 2, 3, 4), y: Float64Array.of(5, 7, 1, 2, 9) };
  expect(thin(series, 2)).toEqual({ x: Float64Array.of(0.5, 3), y: Float64Array.of(6, 2) });
  expect(thin(series, 1)).toBe(series);
});

test("the generator is uniform enough, and one seed gives one sequence", () => {
  const draw = (seed: number) => {
    const random = splitMix32(seed);
    return Array.from({ length: 10_000 }, random);
  };
  const values = draw(1);
  expect(values).toEqual(draw(1));
  expect(values).not.toEqual(draw(2));
  expect(values.every((v) => v >= 0 && v < 1)).toBe(true);
  expect(mean(values)).toBeCloseTo(0.5, 1);
});
