import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { GraphWriter } from "../../src/graph/onnx.ts";
import { type BlockFormat, blockFormats } from "../../src/graph/plan.ts";
import { quantizeRows } from "../../src/graph/quantize.ts";
import { InferenceSession, Tensor } from "../../src/ort/index.ts";
import { scratchDir } from "../scratch.ts";
import { seededRandom } from "../seeded-random.ts";
import { dequantize } from "./dequantize.ts";

const n = 24;

/** x [rows, k] times the quantized matrix, by ONNX Runtime. */
async function multiply(
  x: Float32Array,
  quantized: ReturnType<typeof quantizeRows>,
  k: number,
  format: BlockFormat,
  accuracy: number,
) {
  using scratch = scratchDir();
  const writer = new GraphWriter();
  const { bits, blockSize } = format;
  const blocks = Math.ceil(k / blockSize);
  const { packed, scales } = quantized;
  writer.input({ name: "x", dtype: "float32", shape: ["rows", k] });
  writer.output({ name: "y", dtype: "float32", shape: ["rows", n] });
  const weights = [
    {
      name: "packed",
      dtype: "uint8" as const,
      shape: [n, blocks, (blockSize * bits) / 8],
      offset: 0,
      bytes: packed.length,
    },
    { name: "scales", dtype: "float32" as const, shape: [n * blocks], offset: packed.length, bytes: scales.byteLength },
  ].map((tensor) => writer.external(tensor, "weights.bin"));
  const shape = { K: { int: k }, N: { int: n }, bits: { int: bits }, block_size: { int: blockSize } };
  writer.node("MatMulNBits", ["x", ...weights], "y", { ...shape, accuracy_level: { int: accuracy } });
  writeFileSync(join(scratch.path, "weights.bin"), Buffer.concat([packed, new Uint8Array(scales.buffer)]));
  writeFileSync(join(scratch.path, "model.onnx"), writer.finish());

  const session = await InferenceSession.create(join(scratch.path, "model.onnx"));
  try {
    const { y } = await session.run({ x: new Tensor("float32", x, [x.length / k, k]) });
    return y?.data;
  } finally {
    await session.release();
  }
}

test.each([
  ["q4", 384],
  ["q8", 384],
  ["q4", 40],
  ["q8", 200],
] as const)("ONNX Runtime reads %s along %d as it was written, negative scales too", async (quantization, k) => {
  const format = blockFormats[quantization];
  const random = seededRandom(format.bits + k);
  const weights = Float32Array.from({ length: n * k }, () => random() - 0.5);
  const x = Float32Array.from({ length: 3 * k }, () => random() - 0.5);
  const quantized = quantizeRows(weights, k, format);
  expect(quantized.scales.some((scale) => scale < 0)).toBe(true);

  const used = dequantize(quantized, k, format);
  const y = await multiply(x, quantized, k, format, 1);
  const rounded = await multiply(x, quantized, k, format, 4); // with 8-bit activations, as the engine computes
  for (let row = 0; row < 3; row++) {
    for (let column = 0; column < n; column++) {
      let sum = 0;
      for (let i = 0; i < k; i++) sum += (x[row * k + i] ?? 0) * (used[column * k + i] ?? 0);
      expect(Number(y?.[row * n + column])).toBeCloseTo(sum, 4);
      expect(Math.abs(Number(rounded?.[row * n + column]) - sum)).toBeLessThan(0.02 * Math.sqrt(k / 12));
    }
  }
});
