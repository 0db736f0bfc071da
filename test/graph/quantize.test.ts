import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type BlockFormat, blockFormats } from "../../src/graph/plan.ts";
import { quantizeRows } from "../../src/graph/quantize.ts";
import { heavyTailed } from "../../tools/random-values.ts";
import { dequantize } from "./dequantize.ts";

const formats = ([4, 8] as const).flatMap((bits) =>
  ([32, 64, 128] as const).map((blockSize): BlockFormat => ({ bits, blockSize })),
);

/** Blocks whose scale would be no normal float32 count as zeros. */
const tiny = 128 * 2 ** -125;

const weight = fc.float({ noNaN: true, noDefaultInfinity: true, min: Math.fround(-1e30), max: Math.fround(1e30) });
const matrix = fc
  .tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 300 }))
  .chain(([n, k]) =>
    fc.array(weight, { minLength: n * k, maxLength: n * k }).map((values) => ({ k, rows: Float32Array.from(values) })),
  );
const format = fc.constantFrom(...formats);

describe("Quantized rows", () => {
  test("have no larger squared error than where the largest magnitude is mapped to the end of the range", () => {
    fc.assert(
      fc.property(matrix, format, ({ rows, k }, format) => {
        const ours = blockErrors(rows, dequantize(quantizeRows(rows, k, format), k, format), k, format.blockSize);
        const mapped = blockErrors(rows, mapLargestToEnd(rows, k, format), k, format.blockSize);
        const size = blockErrors(rows, new Float32Array(rows.length), k, format.blockSize);
        ours.forEach((error, i) => {
          expect(error).toBeLessThanOrEqual(
            (mapped[i] ?? NaN) + 1e-6 * (size[i] ?? NaN) + format.blockSize * tiny ** 2,
          );
        });
      }),
    );
  });

  test.each(formats)("have nearly the least squared error that any scale leaves: %o", (format) => {
    const k = 512;
    const rows = heavyTailed(3)(8 * k);
    const ours = sum(blockErrors(rows, dequantize(quantizeRows(rows, k, format), k, format), k, format.blockSize));
    const best = sum(leastErrors(rows, k, format));
    expect(ours).toBeLessThan(best * (format.bits === 4 ? 1.04 : 1.2));
    const mapped = sum(blockErrors(rows, mapLargestToEnd(rows, k, format), k, format.blockSize));
    expect(ours).toBeLessThan(mapped * 0.98);
  });

  test("keep what is already on the grid exactly", () => {
    for (const { bits, blockSize } of formats) {
      const end = 2 ** (bits - 1);
      const levels = Float32Array.from({ length: 512 }, (_, i) => ((i * 37) % (2 * end)) - end);
      for (let i = 0; i < 512; i += blockSize) levels[i] = -end;
      const opposite = levels.map((value) => -value);
      for (const rows of [levels, opposite]) {
        expect(dequantize(quantizeRows(rows, 512, { bits, blockSize }), 512, { bits, blockSize })).toEqual(rows);
      }
    }
  });

  test("lay 4-bit values two a byte, the low nibble first, the extreme one at level 0", () => {
    const row = Float32Array.from({ length: 32 }, (_, i) => [8, 1, -1, 0][i] ?? 0);
    const { packed, scales } = quantizeRows(row, 32, { bits: 4, blockSize: 32 });
    expect([...scales]).toEqual([-1]);
    expect([...packed.subarray(0, 3)]).toEqual([0x70, 0x89, 0x88]);
  });

  test("of zeros have scale 0 and hold the zero point, and so does the padding of the last block", () => {
    for (const { bits, blockSize } of formats) {
      const zero = bits === 8 ? 128 : 0x88;
      const k = blockSize + 8;
      const zeros = quantizeRows(new Float32Array(2 * k), k, { bits, blockSize });
      expect([...zeros.scales]).toEqual([0, 0, 0, 0]);
      expect(zeros.packed.every((byte) => byte === zero)).toBe(true);
      const ones = quantizeRows(new Float32Array(blockSize + 1).fill(1), blockSize + 1, { bits, blockSize });
      expect(ones.scales.length).toBe(2);
      const padding = ones.packed.subarray((-(blockSize - 1) * bits) / 8).subarray(1);
      expect(padding.every((byte) => byte === zero)).toBe(true);
    }
  });

  test("do not depend on the rows beside them", () => {
    fc.assert(
      fc.property(matrix, format, ({ rows, k }, format) => {
        const together = quantizeRows(rows, k, format);
        const apart = Array.from({ length: rows.length / k }, (_, row) =>
          quantizeRows(rows.subarray(row * k, (row + 1) * k), k, format),
        );
        expect(Buffer.concat(apart.map(({ packed }) => packed)).equals(together.packed)).toBe(true);
        expect(apart.flatMap(({ scales }) => [...scales])).toEqual([...together.scales]);
      }),
    );
  });

  test("refuse infinities and NaNs, by row", () => {
    for (const bad of [NaN, -NaN, Infinity, -Infinity]) {
      for (const format of Object.values(blockFormats)) {
        const rows = new Float32Array(3 * 140).fill(1);
        rows[2 * 140 + 139] = bad;
        expect(() => quantizeRows(rows, 140, format)).toThrow("row 2 holds a weight that is not a finite number");
      }
    }
  });
});

/** The squared error of each block, in float64. */
function blockErrors(a: Float32Array, b: Float32Array, k: number, blockSize: number): number[] {
  const errors: number[] = [];
  for (const [start, end] of blocksOf(a.length, k, blockSize)) {
    let error = 0;
    for (let i = start; i < end; i++) error += ((a[i] ?? 0) - (b[i] ?? 0)) ** 2;
    errors.push(error);
  }
  return errors;
}

function* blocksOf(length: number, k: number, blockSize: number): Generator<[start: number, end: number]> {
  for (let row = 0; row < length; row += k) {
    for (let start = 0; start < k; start += blockSize) yield [row + start, row + Math.min(start + blockSize, k)];
  }
}

function atScale(block: Float32Array, scale: number, bits: number): Float32Array {
  const end = 2 ** (bits - 1);
  return block.map((value) => Math.min(Math.max(Math.round(value / scale), -end), end - 1) * scale);
}

function extremeOf(block: Float32Array): number {
  return block.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0);
}

/** What the scale of a block is where nobody looks for a better one. */
function mapLargestToEnd(rows: Float32Array, k: number, { bits, blockSize }: BlockFormat): Float32Array {
  const out = new Float32Array(rows.length);
  for (const [start, end] of blocksOf(rows.length, k, blockSize)) {
    const block = rows.subarray(start, end);
    const scale = bits === 8 ? Math.abs(extremeOf(block)) / 127 : extremeOf(block) / -8;
    if (Math.abs(scale) >= 2 ** -126) out.set(atScale(block, scale, bits), start);
  }
  return out;
}

/** The least squared error of each block over a fine grid of scales of both signs. */
function leastErrors(rows: Float32Array, k: number, { bits, blockSize }: BlockFormat): number[] {
  const end = 2 ** (bits - 1);
  return [...blocksOf(rows.length, k, blockSize)].map(([start, stop]) => {
    const block = rows.subarray(start, stop);
    let least = Infinity;
    for (let step = 0; step < 400; step++) {
      for (const sign of [-1, 1]) {
        const scale = ((sign * extremeOf(block)) / end) * (0.5 + step / 600);
        const [error = NaN] = blockErrors(block, atScale(block, scale, bits), block.length, block.length);
        least = Math.min(least, error);
      }
    }
    return least;
  });
}

function sum(values: number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
