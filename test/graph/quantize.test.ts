import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { quantizeRows } from "../../src/graph/quantize.ts";
import { dequantize } from "./dequantize.ts";

const block = 32;

/** Blocks whose scale would be no normal float32 count as zeros. */
const tiny = 127 * 2 ** -126;

const weight = fc.float({ noNaN: true, noDefaultInfinity: true, min: Math.fround(-1e30), max: Math.fround(1e30) });
const matrix = fc
  .tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 100 }))
  .chain(([n, k]) =>
    fc.array(weight, { minLength: n * k, maxLength: n * k }).map((values) => ({ k, rows: Float32Array.from(values) })),
  );

describe("Quantized rows", () => {
  test("of 8 bits are within half a step of the weights, whatever they are", () => {
    fc.assert(
      fc.property(matrix, ({ rows, k }) => {
        const quantized = quantizeRows(rows, k, 8);
        const back = dequantize(quantized, k, 8);
        rows.forEach((value, i) => {
          const scale = scaleOf(quantized.scales, i, k);
          expect(Math.abs(value - (back[i] ?? NaN))).toBeLessThanOrEqual(Math.abs(scale) * 0.5001 + tiny);
        });
      }),
    );
  });

  test("of 4 bits are within half a step, and within one where the far end is cut off", () => {
    fc.assert(
      fc.property(matrix, ({ rows, k }) => {
        const quantized = quantizeRows(rows, k, 4);
        const back = dequantize(quantized, k, 4);
        rows.forEach((value, i) => {
          const scale = scaleOf(quantized.scales, i, k);
          const cutOff = value / scale > 7.5;
          const limit = Math.abs(scale) * (cutOff ? 1.0001 : 0.5001) + tiny;
          expect(Math.abs(value - (back[i] ?? NaN))).toBeLessThanOrEqual(limit);
        });
      }),
    );
  });

  test("keep what is already on the grid, and the extreme weight of a block, exactly", () => {
    const levels = Float32Array.from({ length: block }, (_, i) => (i % 16) - 8);
    expect(dequantize(quantizeRows(levels, block, 4), block, 4)).toEqual(levels);
    const positive = levels.map((value) => -value);
    expect(dequantize(quantizeRows(positive, block, 4), block, 4)).toEqual(positive);
    const bytes = Float32Array.from({ length: 4 * block }, (_, i) => (i % block === 0 ? 127 : 2 * (i % 127) - 126));
    expect(dequantize(quantizeRows(bytes, block, 8), block, 8)).toEqual(bytes);
  });

  test("lay 4-bit values two a byte, the low nibble first, the extreme one at level 0", () => {
    const { packed, scales } = quantizeRows(
      Float32Array.from({ length: block }, (_, i) => [8, 1, -1, 0][i] ?? 0),
      block,
      4,
    );
    expect([...scales]).toEqual([-1]);
    expect([...packed.subarray(0, 3)]).toEqual([0x70, 0x89, 0x88]);
  });

  test("of zeros have scale 0 and hold the zero point, and so does the padding of the last block", () => {
    for (const [bits, zero] of [
      [8, 128],
      [4, 0x88],
    ] as const) {
      const zeros = quantizeRows(new Float32Array(2 * 40), 40, bits);
      expect([...zeros.scales]).toEqual([0, 0, 0, 0]);
      expect(zeros.packed.every((byte) => byte === zero)).toBe(true);
      const ones = quantizeRows(new Float32Array(33).fill(1), 33, bits);
      expect(ones.scales.length).toBe(2);
      expect(
        ones.packed
          .subarray((-31 * bits) / 8)
          .subarray(1)
          .every((byte) => byte === zero),
      ).toBe(true);
    }
  });

  test("do not depend on the rows beside them", () => {
    fc.assert(
      fc.property(matrix, fc.constantFrom<4 | 8>(4, 8), ({ rows, k }, bits) => {
        const together = quantizeRows(rows, k, bits);
        const apart = Array.from({ length: rows.length / k }, (_, row) =>
          quantizeRows(rows.subarray(row * k, (row + 1) * k), k, bits),
        );
        expect(Buffer.concat(apart.map(({ packed }) => packed)).equals(together.packed)).toBe(true);
        expect(apart.flatMap(({ scales }) => [...scales])).toEqual([...together.scales]);
      }),
    );
  });

  test("use all 16 levels of 4 bits: closer than a symmetric range of 15", () => {
    let state = 1;
    const normal = Float32Array.from({ length: 320 * block }, () => {
      let sum = 0;
      for (let i = 0; i < 6; i++) {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        sum += state / 2 ** 32 - 0.5;
      }
      return sum;
    });
    const ours = dequantize(quantizeRows(normal, block, 4), block, 4);
    const symmetric = normal.map((value, i) => {
      const start = i - (i % block);
      const step = Math.max(...normal.subarray(start, start + block).map(Math.abs)) / 7;
      return Math.round(value / step) * step;
    });
    expect(squaredError(ours, normal)).toBeLessThan(0.9 * squaredError(symmetric, normal));
  });

  test("refuse infinities and NaNs, by row", () => {
    for (const bad of [NaN, -NaN, Infinity, -Infinity]) {
      for (const bits of [4, 8] as const) {
        const rows = new Float32Array(3 * 40).fill(1);
        rows[2 * 40 + 39] = bad;
        expect(() => quantizeRows(rows, 40, bits)).toThrow("row 2 holds a weight that is not a finite number");
      }
    }
  });
});

function scaleOf(scales: Float32Array, i: number, k: number): number {
  return scales[Math.floor(i / k) * Math.ceil(k / block) + Math.floor((i % k) / block)] ?? NaN;
}

function squaredError(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + (value - (b[i] ?? 0)) ** 2, 0);
}
