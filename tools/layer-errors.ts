import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GraphWriter } from "../src/graph/onnx.ts";
import type { BlockFormat } from "../src/graph/plan.ts";
import type { QuantizedRows, quantizeRows } from "../src/graph/quantize.ts";
import { InferenceSession, Tensor } from "../src/ort/index.ts";
import { heavyTailed, randomValues } from "./random-values.ts";

const n = 512;
const k = 1024;
const tokens = 32;

/**
 * The relative error (root of the sums of squares) of a linear layer's outputs through ONNX Runtime's kernel, against
 * float64; weights with heavy tails, inputs once without and once with them.
 */
export async function layerErrors(
  format: BlockFormat,
  quantize: typeof quantizeRows,
): Promise<{ normal_inputs: number; heavy_tailed_inputs: number }> {
  const weights = heavyTailed(1)(n * k);
  const quantized = quantize(weights, k, format);
  const error = async (x: Float32Array) => {
    const y = await product(x, quantized, format);
    let wrong = 0;
    let all = 0;
    for (let row = 0; row < tokens; row++) {
      for (let column = 0; column < n; column++) {
        let exact = 0;
        for (let i = 0; i < k; i++) exact += (x[row * k + i] ?? 0) * (weights[column * k + i] ?? 0);
        wrong += ((y[row * n + column] ?? Number.NaN) - exact) ** 2;
        all += exact ** 2;
      }
    }
    return Number(Math.sqrt(wrong / all).toPrecision(4));
  };
  return {
    normal_inputs: await error(randomValues(2, 0, 1)(tokens * k)),
    heavy_tailed_inputs: await error(heavyTailed(3)(tokens * k)),
  };
}

/** x [tokens, k] times the quantized matrix, [tokens, n], as the engine computes it. */
async function product(
  x: Float32Array,
  { packed, scales }: QuantizedRows,
  { bits, blockSize }: BlockFormat,
): Promise<Float32Array> {
  const blocks = Math.ceil(k / blockSize);
  const writer = new GraphWriter();
  writer.input({ name: "x", dtype: "float32", shape: [tokens, k] });
  writer.output({ name: "y", dtype: "float32", shape: [tokens, n] });
  const tensors = [
    { name: "packed", dtype: "uint8" as const, shape: [n, blocks, (blockSize * bits) / 8], bytes: packed.length },
    { name: "scales", dtype: "float32" as const, shape: [n * blocks], bytes: scales.byteLength },
  ].map((tensor, i) => writer.external({ ...tensor, offset: i * packed.length }, "weights.bin"));
  const size = { K: { int: k }, N: { int: n }, bits: { int: bits }, block_size: { int: blockSize } };
  writer.node("MatMulNBits", ["x", ...tensors], "y", { ...size, accuracy_level: { int: 4 } });
  const dir = mkdtempSync(join(tmpdir(), "kakeya-layer-"));
  try {
    writeFileSync(join(dir, "weights.bin"), Buffer.concat([packed, new Uint8Array(scales.buffer)]));
    writeFileSync(join(dir, "model.onnx"), writer.finish());
    const session = await InferenceSession.create(join(dir, "model.onnx"));
    const y = new Float32Array(tokens * n);
    await session.run({ x: new Tensor("float32", x, [tokens, k]) }, { y: new Tensor("float32", y, [tokens, n]) });
    await session.release();
    return y;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
