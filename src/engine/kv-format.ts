import type { ModelConfig } from "../checkpoint/config.ts";
import { GraphWriter } from "../graph/onnx.ts";
import type { Device, KvFormat } from "../graph/plan.ts";
import { InferenceSession, Tensor } from "../ort/index.ts";

/** From this window on a step reads so much of the cache that 8 bits are faster (results/measurements). */
const longWindow = 512;

/**
 * How the cache's rows are stored, for what was asked, a model and a window.
 *
 * @throws Error when rows of 8 bits are asked for, and the model or the device can't have them
 */
export async function kvFormatFor(
  asked: KvFormat | "auto",
  device: Device,
  { headDim }: ModelConfig,
  window: number,
): Promise<KvFormat> {
  if (asked === "f32" || (asked === "auto" && window < longWindow)) return "f32";
  // A row's codes and its scale are saved as 32-bit words.
  const problem =
    device === "gpu"
      ? "is computed by integer products, which the GPU's library doesn't have"
      : headDim % 4 !== 0
        ? `takes heads of a multiple of 4 numbers, and the model's have ${headDim}`
        : (await integerProductsAreExact())
          ? undefined
          : "needs integer products that don't saturate, and this processor's do";
  if (problem === undefined) return "q8";
  if (asked === "auto") return "f32";
  throw new Error(`a cache of 8 bits ${problem}: use --kv f32`);
}

/** Whether products of 8-bit numbers keep all bits: x64 without VNNI adds pairs of them in 16 bits, which may overflow. */
async function integerProductsAreExact(): Promise<boolean> {
  const [rows, k, columns] = [2, 64, 16];
  const writer = new GraphWriter();
  writer.input({ name: "x", dtype: "float32", shape: [rows, k] });
  writer.input({ name: "w", dtype: "float32", shape: [k, columns] });
  writer.output({ name: "y", dtype: "float32", shape: [rows, columns] });
  const one = writer.scalar("float32", 1);
  const x = writer.node("QuantizeLinear", ["x", one, writer.scalar("uint8", 0)], "x.codes");
  const w = writer.node("QuantizeLinear", ["w", one, writer.scalar("int8", 0)], "w.codes");
  writer.node("MatMulIntegerToFloat", [x, w, one, one], "y");
  const session = await InferenceSession.create(writer.finish());
  try {
    const feed = (value: number, ...shape: [number, number]) =>
      new Tensor("float32", new Float32Array(shape[0] * shape[1]).fill(value), shape);
    const { y } = await session.run({ x: feed(255, rows, k), w: feed(127, k, columns) });
    return y !== undefined && Array.from(y.data, Number).every((sum) => sum === k * 255 * 127);
  } finally {
    await session.release();
  }
}
