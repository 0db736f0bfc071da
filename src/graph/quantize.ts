import type { BlockFormat } from "./plan.ts";

export interface QuantizedRows {
  /** [n, ceil(k / blockSize), blockSize * bits / 8]; 4 bit: two values a byte, the low nibble first. */
  packed: Uint8Array;
  /** [n, ceil(k / blockSize)]. */
  scales: Float32Array;
}

/**
 * How many steps from zero the largest weight of a block is placed at first. More steps than there are clip that
 * weight, and make the steps of all others smaller.
 */
const triedSteps = { 4: [8, 9], 8: [127, 128] } as const;

/**
 * Quantizes rows [n, k] in blocks along k, in the layout of ONNX Runtime's MatMulNBits (see plan.ts). A block's scale
 * and levels are those that leave the least squared error, among a few tried: rounding to the nearest level and
 * the least-squares scale of these levels alternate (Lloyd's method), and neither can make the error larger. The error
 * is at most that of `triedSteps`' first entry alone. The weight of the largest magnitude takes the negative end of the
 * range, which has one level more, so that a scale is negative where that weight is positive. The last block of
 * a row is padded with zeros.
 *
 * Throws RangeError when a weight is not finite.
 */
export function quantizeRows(rows: Float32Array, k: number, format: BlockFormat): QuantizedRows {
  const { bits, blockSize } = format;
  const weights = k % blockSize === 0 ? rows : padRows(rows, k, blockSize);
  const weightBits = new Int32Array(weights.buffer, weights.byteOffset, weights.length);
  const levels = new Uint8Array(weights.length);
  const scales = new Float32Array(weights.length / blockSize);
  for (let block = 0, start = 0; block < scales.length; block++, start += blockSize) {
    scales[block] = quantizeBlock({ weights, weightBits, levels }, start, start + blockSize, bits);
  }
  const bad = scales.findIndex((scale) => !Number.isFinite(scale));
  if (bad >= 0) {
    throw new RangeError(
      `row ${Math.floor(bad / Math.ceil(k / blockSize))} holds a weight that is not a finite number`,
    );
  }
  return { packed: bits === 8 ? levels : pairs(levels), scales };
}

function padRows(rows: Float32Array, k: number, blockSize: number): Float32Array {
  const paddedK = Math.ceil(k / blockSize) * blockSize;
  const n = rows.length / k;
  const padded = new Float32Array(n * paddedK);
  for (let row = 0; row < n; row++) padded.set(rows.subarray(row * k, (row + 1) * k), row * paddedK);
  return padded;
}

/** The rows of one matrix: as floats, as the floats' bits, and where their levels go. */
interface Matrix {
  weights: Float32Array;
  weightBits: Int32Array;
  levels: Uint8Array;
}

/** Writes the block's levels and returns its scale; not a finite number when one of its weights is not. */
function quantizeBlock(matrix: Matrix, start: number, stop: number, bits: 4 | 8): number {
  const zero = 1 << (bits - 1);
  const extreme = extremeOf(matrix.weightBits, start, stop);
  // A scale below float32's normal numbers has too few bits to divide by: such a block counts as zeros.
  if (Math.abs(extreme) < zero * 2 ** -125) {
    matrix.levels.fill(zero, start, stop);
    return 0;
  }
  let best = 0;
  let most = Number.NEGATIVE_INFINITY;
  for (const steps of triedSteps[bits]) {
    const scale = round(matrix, start, stop, -steps / extreme, zero);
    if (explained <= most) continue;
    best = scale;
    most = explained;
  }
  return round(matrix, start, stop, 1 / best, zero);
}

const word = new Float32Array(1);
const wordBits = new Int32Array(word.buffer);

/**
 * The weight of the largest magnitude, looked for among the bits of the floats as integers: half again as fast as
 * comparing floats, and infinities and NaNs come out as the largest of all.
 */
function extremeOf(weightBits: Int32Array, start: number, stop: number): number {
  let largest = 0;
  for (let i = start; i < stop; i++) {
    // With the sign as the lowest bit, unsigned order is the order of magnitudes.
    const rotated = ((weightBits[i] ?? 0) << 1) | ((weightBits[i] ?? 0) >>> 31);
    largest = rotated >>> 0 > largest >>> 0 ? rotated : largest;
  }
  wordBits[0] = (largest >>> 1) | (largest << 31);
  return word[0] ?? 0;
}

/** By how much the last rounding's levels and scale reduce the block's sum of squares: the least error has the most. */
let explained = 0;

/**
 * Writes the levels, 0 to 2 * zero - 1, nearest to the weights times `stepsPerUnit`; returns these levels' least-squares
 * scale.
 */
function round({ weights, levels }: Matrix, start: number, stop: number, stepsPerUnit: number, zero: number): number {
  const last = 2 * zero - 1;
  const half = zero + 0.5;
  let product = 0;
  let square = 0;
  for (let i = start; i < stop; i++) {
    const weight = weights[i] ?? 0;
    let level = (weight * stepsPerUnit + half) | 0;
    if (level < 0) level = 0;
    if (level > last) level = last;
    levels[i] = level;
    const steps = level - zero;
    product += weight * steps;
    square += steps * steps;
  }
  explained = (product * product) / square;
  return product / square;
}

/** Two levels a byte, the first in the low nibble. */
function pairs(levels: Uint8Array): Uint8Array {
  const packed = new Uint8Array(levels.length / 2);
  for (let i = 0; i < packed.length; i++) packed[i] = (levels[2 * i] ?? 0) | ((levels[2 * i + 1] ?? 0) << 4);
  return packed;
}
