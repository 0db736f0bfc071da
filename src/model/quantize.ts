/** Elements along k that share a scale: the largest block whose 4-bit kernel is bit-exact for any number of rows. */
export const quantizationBlock = 32;

export interface QuantizedRows {
  /** [n, ceil(k / 32), 32 * bits / 8]; 4 bit: two values a byte, the low nibble first. */
  packed: Uint8Array;
  /** [n, ceil(k / 32)]. */
  scales: Float32Array;
}

/**
 * Quantizes rows [n, k] in blocks of 32 along k, in the layout of ONNX Runtime's MatMulNBits (see plan.ts):
 * symmetric, rounded to the nearest. The last block of a row is padded with zeros.
 *
 * Throws RangeError when a weight is not finite.
 */
export function quantizeRows(rows: Float32Array, k: number, bits: 4 | 8): QuantizedRows {
  const n = rows.length / k;
  const blocks = Math.ceil(k / quantizationBlock);
  const scales = new Float32Array(n * blocks);
  const packed = new Uint8Array((n * blocks * quantizationBlock * bits) / 8);
  const quantizeBlock = bits === 8 ? quantizeBlock8 : quantizeBlock4;
  const blockBytes = (quantizationBlock * bits) / 8;
  for (let row = 0, block = 0; row < n; row++) {
    const end = (row + 1) * k;
    for (let start = row * k; start < end; start += quantizationBlock, block++) {
      const stop = Math.min(start + quantizationBlock, end);
      scales[block] = quantizeBlock(rows, start, stop, packed, block * blockBytes);
    }
  }
  // A weight that is no number, or infinite, makes its block's scale the same.
  const bad = scales.findIndex((scale) => !Number.isFinite(scale));
  if (bad >= 0) throw new RangeError(`row ${Math.floor(bad / blocks)} holds a weight that is not finite`);
  return { packed, scales };
}

/** Zero is 128; the largest magnitude is 127 steps. Returns the scale. */
function quantizeBlock8(rows: Float32Array, start: number, stop: number, packed: Uint8Array, at: number): number {
  let largest = 0;
  let sum = 0;
  for (let i = start; i < stop; i++) {
    const magnitude = Math.abs(rows[i] ?? 0);
    sum += magnitude;
    if (magnitude > largest) largest = magnitude;
  }
  if (!(sum < Infinity)) return NaN;
  const scale = Math.fround(largest / 127);
  const perStep = scale === 0 ? 0 : 1 / scale;
  for (let i = start; i < stop; i++) packed[at++] = ((rows[i] ?? 0) * perStep + 128.5) | 0;
  for (let i = stop; i < start + quantizationBlock; i++) packed[at++] = 128;
  return scale;
}

/**
 * Zero is 8. The weight of the largest magnitude becomes level 0, so that all 16 levels serve (as in llama.cpp's
 * Q4_0); the scale is therefore negative where that weight is positive. Returns the scale.
 */
function quantizeBlock4(rows: Float32Array, start: number, stop: number, packed: Uint8Array, at: number): number {
  let largest = 0;
  let signed = 0;
  let sum = 0;
  for (let i = start; i < stop; i++) {
    const weight = rows[i] ?? 0;
    const magnitude = Math.abs(weight);
    sum += magnitude;
    if (magnitude > largest) {
      largest = magnitude;
      signed = weight;
    }
  }
  if (!(sum < Infinity)) return NaN;
  const scale = Math.fround(signed / -8);
  const perStep = scale === 0 ? 0 : 1 / scale;
  for (let i = start; i < start + quantizationBlock; i += 2) {
    const low = i < stop ? ((rows[i] ?? 0) * perStep + 8.5) | 0 : 8;
    const high = i + 1 < stop ? ((rows[i + 1] ?? 0) * perStep + 8.5) | 0 : 8;
    packed[at++] = (low > 15 ? 15 : low) | ((high > 15 ? 15 : high) << 4);
  }
  return scale;
}
