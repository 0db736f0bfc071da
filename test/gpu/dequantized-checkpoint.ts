import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readConfig } from "../../src/checkpoint/config.ts";
import { openCheckpoint } from "../../src/checkpoint/safetensors.ts";
import { embeddingName } from "../../src/checkpoint/weight-shapes.ts";
import { blockFormats } from "../../src/graph/plan.ts";
import { quantizeRows } from "../../src/graph/quantize.ts";
import { dequantize } from "../graph/dequantize.ts";

/** Writes a float32 model whose matrices are the numbers that a quantized engine's kernels read, to `dir`. */
export function writeDequantized(dir: string, modelDir: string, quantization: "q8" | "q4"): void {
  const format = blockFormats[quantization];
  const { tieWordEmbeddings } = readConfig(modelDir);
  const checkpoint = openCheckpoint(modelDir);
  const rounded = (values: Float32Array, k: number) => dequantize(quantizeRows(values, k, format), k, format);
  const tensors: { name: string; shape: readonly number[]; values: Float32Array }[] = [];
  for (const [name, { shape, elements }] of checkpoint.tensors) {
    const values = new Float32Array(elements);
    checkpoint.readFloats(name, 0, values);
    const [, k] = shape;
    // Rows of the embedding table are read as they are; where it is the head as well, that is quantized.
    const isMatrix = k !== undefined && name !== embeddingName;
    tensors.push({ name, shape, values: isMatrix ? rounded(values, k) : values });
    if (name === embeddingName && k !== undefined && tieWordEmbeddings) {
      tensors.push({ name: "lm_head.weight", shape, values: rounded(values, k) });
    }
  }
  checkpoint.close();
  mkdirSync(dir, { recursive: true });
  const config = JSON.parse(readFileSync(join(modelDir, "config.json"), "utf8"));
  writeFileSync(join(dir, "config.json"), JSON.stringify({ ...config, tie_word_embeddings: false }));
  let end = 0;
  const entries = tensors.map(({ name, shape, values }) => {
    end += values.byteLength;
    return [name, { dtype: "F32", shape, data_offsets: [end - values.byteLength, end] }] as const;
  });
  const header = JSON.stringify(Object.fromEntries(entries));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const numbers = tensors.map(({ values }) => new Uint8Array(values.buffer));
  writeFileSync(join(dir, "model.safetensors"), Buffer.concat([length, Buffer.from(header), ...numbers]));
}
