import type { BlockFormat } from "../../src/graph/plan.ts";

/** What the kernel computes with: [n, k], from the layout in plan.ts. */
export function dequantize(
  quantized: { packed: Uint8Array; scales: Float32Array },
  k: number,
  { bits, blockSize }: BlockFormat,
): Float32Array {
  const blocks = Math.ceil(k / blockSize);
  const n = quantized.scales.length / blocks;
  const level = (i: number) => {
    if (bits === 8) return (quantized.packed[i] ?? 0) - 128;
    return (((quantized.packed[i >> 1] ?? 0) >> (4 * (i & 1))) & 15) - 8;
  };
  return Float32Array.from({ length: n * k }, (_, i) => {
    const row = Math.floor(i / k);
    const column = i % k;
    const at = row * blocks * blockSize + column;
    return level(at) * (quantized.scales[Math.floor(at / blockSize)] ?? 0);
  });
}
