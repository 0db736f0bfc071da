import type { BlockFormat } from "../src/graph/plan.ts";
import { type QuantizedRows, quantizeRows } from "../src/graph/quantize.ts";

/**
 * Quantizes rows [n, k] with the scales of llama.cpp's Q4_0 and Q8_0: a block's weight of the largest magnitude is
 * mapped to the end of the range, whatever that does to the others. What better scales are compared with.
 */
function largestAtEnd(rows: Float32Array, k: number, { bits, blockSize }: BlockFormat): QuantizedRows {
  const end = 2 ** (bits - 1);
  const blocks = Math.ceil(k / blockSize);
  const n = rows.length / k;
  const levels = new Uint8Array(n * blocks * blockSize).fill(end);
  const scales = new Float32Array(n * blocks);
  for (let block = 0; block < scales.length; block++) {
    const start = Math.floor(block / blocks) * k + (block % blocks) * blockSize;
    const weights = rows.subarray(start, Math.min(start + blockSize, (Math.floor(block / blocks) + 1) * k));
    const extreme = weights.reduce((most, weight) => (Math.abs(weight) > Math.abs(most) ? weight : most), 0);
    const scale = bits === 8 ? Math.abs(extreme) / 127 : extreme / -8;
    if (Math.abs(scale) < 2 ** -126) continue; // no normal float32
    scales[block] = scale;
    weights.forEach((weight, i) => {
      levels[block * blockSize + i] = end + Math.min(Math.round(weight / scale), end - 1);
    });
  }
  if (bits === 8) return { packed: levels, scales };
  const packed = Uint8Array.from(
    { length: levels.length / 2 },
    (_, i) => (levels[2 * i] ?? 0) | ((levels[2 * i + 1] ?? 0) << 4),
  );
  return { packed, scales };
}

export const quantizers = { "largest at end": largestAtEnd, "least squares": quantizeRows };
