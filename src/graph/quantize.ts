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
  const padded = k % quantizationBlock === 0 ? rows : padRows(rows, k);
  const quantized = bits === 8 ? quantize8(padded) : quantize4(padded);
  const bad = quantized.scales.findIndex((scale) => !Number.isFinite(scale));
  if (bad < 0) return quantized;
  throw new RangeError(
    `row ${Math.floor(bad / Math.ceil(k / quantizationBlock))} holds a weight that is not a finite number`,
  );
}

function padRows(rows: Float32Array, k: number): Float32Array {
  const paddedK = Math.ceil(k / quantizationBlock) * quantizationBlock;
  const n = rows.length / k;
  const padded = new Float32Array(n * paddedK);
  for (let row = 0; row < n; row++) padded.set(rows.subarray(row * k, (row + 1) * k), row * paddedK);
  return padded;
}

/** A scale below float32's normal numbers has too few bits to divide by: such a block counts as zeros. */
function normalOrZero(scale: number): number {
  return Math.abs(scale) < 2 ** -126 ? 0 : Math.fround(scale);
}

// Both loops look for the largest magnitude among the bits of the floats, as integers: half again as fast as
// comparing floats, and infinities and NaNs come out as the largest of all, so that the scale betrays them.

/** Zero is 128; the largest magnitude of a block is 127 steps from it. */
function quantize8(weights: Float32Array): QuantizedRows {
  const bits = new Int32Array(weights.buffer, weights.byteOffset, weights.length);
  const scales = new Float32Array(weights.length / quantizationBlock);
  const packed = new Uint8Array(weights.length);
  const magnitude = new Float32Array(1);
  const magnitudeBits = new Int32Array(magnitude.buffer);
  for (let block = 0, start = 0; block < scales.length; block++, start += quantizationBlock) {
    const stop = start + quantizationBlock;
    let largest = 0;
    for (let i = start; i < stop; i++) {
      const unsigned = (bits[i] ?? 0) & 0x7fffffff;
      largest = Math.max(unsigned, largest);
    }
    magnitudeBits[0] = largest;
    const scale = normalOrZero((magnitude[0] ?? 0) / 127);
    const stepsPerUnit = scale === 0 ? 0 : 1 / scale;
    scales[block] = scale;
    for (let i = start; i < stop; i++) packed[i] = ((weights[i] ?? 0) * stepsPerUnit + 128.5) | 0;
  }
  return { packed, scales };
}

/**
 * Zero is 8. The weight of the largest magnitude becomes level 0, so that all 16 levels serve (as in llama.cpp's
 * Q4_0); the scale is therefore negative where that weight is positive.
 */
function quantize4(weights: Float32Array): QuantizedRows {
  const bits = new Int32Array(weights.buffer, weights.byteOffset, weights.length);
  const scales = new Float32Array(weights.length / quantizationBlock);
  const packed = new Uint8Array(weights.length / 2);
  const extreme = new Float32Array(1);
  const extremeBits = new Int32Array(extreme.buffer);
  for (let block = 0, start = 0, at = 0; block < scales.length; block++, start += quantizationBlock) {
    const stop = start + quantizationBlock;
    let largest = 0;
    for (let i = start; i < stop; i++) {
      // The sign turned to the lowest bit: unsigned order is then the order of magnitudes.
      const turned = ((bits[i] ?? 0) << 1) | ((bits[i] ?? 0) >>> 31);
      largest = turned >>> 0 > largest >>> 0 ? turned : largest;
    }
    extremeBits[0] = (largest >>> 1) | (largest << 31);
    const scale = normalOrZero((extreme[0] ?? 0) / -8);
    const stepsPerUnit = scale === 0 ? 0 : 1 / scale;
    scales[block] = scale;
    for (let i = start; i < stop; i += 2) {
      const low = Math.min(((weights[i] ?? 0) * stepsPerUnit + 8.5) | 0, 15);
      const high = Math.min(((weights[i + 1] ?? 0) * stepsPerUnit + 8.5) | 0, 15);
      packed[at++] = low | (high << 4);
    }
  }
  return { packed, scales };
}
