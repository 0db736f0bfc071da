/**
 * Writes a checkpoint in Hugging Face format with random weights: any configuration, the same bytes for the same seed.
 *
 *     bun tools/random-checkpoint.ts --preset qwen3-0.6b --seed 1 OUT_DIR
 *     bun tools/random-checkpoint.ts --config some/config.json --dtype F16 --shards 3 OUT_DIR
 */

import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { readConfig } from "../src/checkpoint/config.ts";
import { dtypeBytes, type TensorDtype } from "../src/checkpoint/float-conversion.ts";
import { checkpointShapes } from "../src/checkpoint/weight-shapes.ts";
import { float16Bits, randomValues, seedOf } from "./random-values.ts";

export interface RandomCheckpointOptions {
  /** The content of config.json. */
  config: Readonly<Record<string, unknown>>;
  seed: number;
  dtype?: TensorDtype;
  /** Number of safetensors files; above 1 they get an index. */
  shards?: number;
}

/** Shapes worth a name; `--preset` takes one. */
export const presets: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  "qwen3-0.6b": {
    architectures: ["Qwen3ForCausalLM"],
    model_type: "qwen3",
    hidden_act: "silu",
    hidden_size: 1024,
    intermediate_size: 3072,
    num_hidden_layers: 28,
    num_attention_heads: 16,
    num_key_value_heads: 8,
    head_dim: 128,
    vocab_size: 151936,
    rms_norm_eps: 1e-6,
    rope_theta: 1_000_000,
    tie_word_embeddings: true,
    attention_bias: false,
    max_position_embeddings: 40960,
    eos_token_id: 151645,
  },
  /** One query head a KV head, the case where attention's matrices would have a single row. */
  "llama-multi-head": {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    hidden_act: "silu",
    hidden_size: 64,
    intermediate_size: 160,
    num_hidden_layers: 3,
    num_attention_heads: 4,
    num_key_value_heads: 4,
    vocab_size: 320,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    tie_word_embeddings: false,
    max_position_embeddings: 4096,
    eos_token_id: 2,
  },
};

interface PlacedTensor {
  name: string;
  shape: number[];
  bytes: number;
}

/** Writes config.json and the weights into `dir`, which is made if need be. */
export function writeRandomCheckpoint(dir: string, options: RandomCheckpointOptions): void {
  const { seed, dtype = "BF16", shards = 1 } = options;
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, "config.json"), `${JSON.stringify(options.config, null, 2)}\n`);
  const tensors = [...checkpointShapes(readConfig(dir))].map(([name, shape]) => ({
    name,
    shape,
    bytes: shape.reduce((a, b) => a * b, dtypeBytes[dtype]),
  }));
  const groups = split(tensors, shards);
  const nameOf = (i: number) => {
    const [number, count] = [i + 1, groups.length].map((n) => String(n).padStart(5, "0"));
    return groups.length === 1 ? "model.safetensors" : `model-${number}-of-${count}.safetensors`;
  };
  groups.forEach((group, i) => {
    writeSafetensors(join(dir, nameOf(i)), group, dtype, seed);
  });
  if (groups.length === 1) return;
  const weightMap = Object.fromEntries(groups.flatMap((group, i) => group.map(({ name }) => [name, nameOf(i)])));
  const metadata = { total_size: tensors.reduce((sum, { bytes }) => sum + bytes, 0) };
  const index = JSON.stringify({ metadata, weight_map: weightMap }, null, 2);
  writeFileSync(join(dir, "model.safetensors.index.json"), index);
}

/** Cuts the list into `parts` neighbouring groups of about equal bytes. */
function split(tensors: PlacedTensor[], parts: number): PlacedTensor[][] {
  const total = tensors.reduce((sum, { bytes }) => sum + bytes, 0);
  const groups: PlacedTensor[][] = Array.from({ length: Math.min(parts, tensors.length) }, () => []);
  let before = 0;
  for (const tensor of tensors) {
    groups[Math.floor((before / total) * groups.length)]?.push(tensor);
    before += tensor.bytes;
  }
  return groups.filter((group) => group.length > 0);
}

const chunkElements = 1 << 20;

function writeSafetensors(file: string, tensors: PlacedTensor[], dtype: TensorDtype, seed: number): void {
  let end = 0;
  const entries = tensors.map(({ name, shape, bytes }) => {
    end += bytes;
    return [name, { dtype, shape, data_offsets: [end - bytes, end] }];
  });
  const json = JSON.stringify({ __metadata__: { format: "pt" }, ...Object.fromEntries(entries) });
  const header = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8, " "));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));

  const fd = openSync(file, "w");
  try {
    writeSync(fd, length);
    writeSync(fd, header);
    for (const { name, shape } of tensors) {
      const elements = shape.reduce((a, b) => a * b, 1);
      const { mean, deviation } = distribution(name, shape);
      const random = randomValues(seedOf(seed, name), mean, deviation);
      for (let done = 0; done < elements; done += chunkElements) {
        const values = random(Math.min(chunkElements, elements - done));
        writeSync(fd, encode(values, dtype));
      }
    }
  } finally {
    closeSync(fd);
  }
}

/** Keeps the activations of every layer, and the logits, of the size that trained models have. */
function distribution(name: string, shape: number[]): { mean: number; deviation: number } {
  if (name.endsWith("norm.weight")) return { mean: 1, deviation: 0.1 };
  if (name.endsWith(".bias")) return { mean: 0, deviation: 0.1 };
  const inputs = shape.at(-1) ?? 1;
  const gain = name === "lm_head.weight" || name === "model.embed_tokens.weight" ? 3 : 1;
  return { mean: 0, deviation: gain / Math.sqrt(inputs) };
}

function encode(values: Float32Array, dtype: TensorDtype): Uint8Array {
  if (dtype === "F32") return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(values.length);
  if (dtype === "BF16") for (let i = 0; i < halves.length; i++) halves[i] = (words[i] ?? 0) >>> 16;
  else for (let i = 0; i < halves.length; i++) halves[i] = float16Bits(values[i] ?? 0);
  return new Uint8Array(halves.buffer);
}

function main(): void {
  const { values: flags, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      preset: { type: "string" },
      config: { type: "string" },
      seed: { type: "string", default: "0" },
      dtype: { type: "string", default: "BF16" },
      shards: { type: "string", default: "1" },
    },
  });
  const [dir] = positionals;
  const config: unknown = flags.config ? JSON.parse(readFileSync(flags.config, "utf8")) : presets[flags.preset ?? ""];
  const { dtype } = flags;
  if (dir === undefined || typeof config !== "object" || config === null) {
    throw new Error(`usage: random-checkpoint.ts (--preset ${Object.keys(presets).join("|")} | --config FILE) OUT_DIR`);
  }
  if (dtype !== "BF16" && dtype !== "F16" && dtype !== "F32")
    throw new Error(`--dtype ${dtype} is not BF16, F16 or F32`);
  writeRandomCheckpoint(dir, { config: { ...config }, seed: Number(flags.seed), dtype, shards: Number(flags.shards) });
}

if (import.meta.main) main();
