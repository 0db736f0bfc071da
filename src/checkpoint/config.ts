import { join } from "node:path";
import { JsonFields, readJsonFile } from "./json-file.ts";
import { ModelError } from "./model-error.ts";
import { readInverseFrequencies } from "./rope.ts";

/** The parts of a checkpoint's config.json that change the mathematics. */
export interface ModelConfig {
  /** For example "Qwen3ForCausalLM". */
  architecture: string;
  modelType: string;
  vocabSize: number;
  hiddenSize: number;
  layers: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  intermediateSize: number;
  rmsNormEps: number;
  /** [headDim / 2], radians a position; the checkpoint's RoPE scaling is applied. */
  inverseFrequencies: Float64Array;
  /** Whether queries and keys are normalized per head before RoPE (Qwen3). */
  qkNorm: boolean;
  bias: { qkv: boolean; output: boolean; mlp: boolean };
  tieWordEmbeddings: boolean;
}

/** Architecture by model_type, for a config.json that names no architecture. */
const architectures: Readonly<Record<string, string>> = {
  qwen3: "Qwen3ForCausalLM",
  qwen2: "Qwen2ForCausalLM",
  llama: "LlamaForCausalLM",
  mistral: "MistralForCausalLM",
};

/**
 * Reads `<dir>/config.json`. Throws ModelError on anything that this engine would not compute as the model's authors
 * do.
 */
export function readConfig(dir: string): ModelConfig {
  const file = join(dir, "config.json");
  const json = readJsonFile(file);
  if (json === undefined) {
    throw new ModelError(
      file,
      "is missing",
      "Give the directory of a Hugging Face checkpoint (config.json, *.safetensors)",
    );
  }
  const fields = new JsonFields(file, json);
  const architecture = readArchitecture(fields);
  refuseOtherMathematics(fields, architecture);

  const hiddenSize = fields.count("hidden_size");
  const heads = fields.count("num_attention_heads");
  const kvHeads = fields.count("num_key_value_heads", architecture === "LlamaForCausalLM" ? heads : undefined);
  const headDim = readHeadDim(fields, architecture, hiddenSize, heads);
  if (heads % kvHeads !== 0) {
    throw fields.error(
      "num_key_value_heads",
      `is ${kvHeads}, which does not divide num_attention_heads ${heads}`,
      redownload,
    );
  }
  return {
    architecture,
    modelType: fields.text("model_type", ""),
    vocabSize: fields.count("vocab_size"),
    hiddenSize,
    layers: fields.count("num_hidden_layers"),
    heads,
    kvHeads,
    headDim,
    intermediateSize: fields.count("intermediate_size"),
    rmsNormEps: fields.positive("rms_norm_eps", 1e-6),
    inverseFrequencies: readInverseFrequencies(fields, headDim),
    qkNorm: architecture === "Qwen3ForCausalLM",
    bias: readBias(fields, architecture),
    tieWordEmbeddings: fields.flag("tie_word_embeddings", false),
  };
}

const redownload = "Correct the file or download it again";

function readArchitecture(fields: JsonFields): string {
  const listed = fields.values.architectures;
  const first: unknown = Array.isArray(listed) ? listed[0] : undefined;
  const modelType = fields.text("model_type", "");
  const named = typeof first === "string" ? first : architectures[modelType];
  const supported = Object.values(architectures);
  if (named !== undefined && supported.includes(named)) return named;
  throw fields.error(
    "architectures",
    `is ${JSON.stringify(listed ?? null)} (model_type ${JSON.stringify(modelType)}), which kakeya can't run`,
    `Use a checkpoint of ${supported.join(", ")}`,
  );
}

function refuseOtherMathematics(fields: JsonFields, architecture: string): void {
  const activation = fields.text("hidden_act", "silu");
  if (activation !== "silu") {
    throw fields.error("hidden_act", `is ${JSON.stringify(activation)}`, 'Use a checkpoint whose activation is "silu"');
  }
  if (fields.has("quantization_config")) {
    throw fields.error(
      "quantization_config",
      "says that the weights are already quantized",
      "Use the original checkpoint in bf16, f16 or f32; kakeya quantizes it itself (--quant)",
    );
  }
  const windowed =
    "The model was trained with a window of its own, and would see different tokens here; use a model without one";
  if (fields.flag("use_sliding_window", false)) throw fields.error("use_sliding_window", "is true", windowed);
  if (architecture === "MistralForCausalLM" && fields.has("sliding_window")) {
    throw fields.error("sliding_window", `is ${JSON.stringify(fields.values.sliding_window)}`, windowed);
  }
  const layerTypes = fields.values.layer_types;
  const other: unknown = Array.isArray(layerTypes) ? layerTypes.find((type) => type !== "full_attention") : undefined;
  if (other !== undefined) throw fields.error("layer_types", `holds ${JSON.stringify(other)}`, windowed);
}

/** All other sizes are compared with the weights first; this one sizes a table before that. No model comes near it. */
const mostHeadDim = 65_536;

function readHeadDim(fields: JsonFields, architecture: string, hiddenSize: number, heads: number): number {
  // Without a head_dim, transformers takes 128 for Qwen3, and hidden_size / num_attention_heads for the others.
  const implied = architecture === "Qwen3ForCausalLM" ? 128 : hiddenSize / heads;
  const headDim = fields.count("head_dim", implied);
  if (headDim > mostHeadDim) throw fields.error("head_dim", `is ${headDim}, above ${mostHeadDim}`, redownload);
  if (headDim % 2 === 0) return headDim;
  throw fields.error("head_dim", `is ${headDim}, an odd number, but RoPE rotates pairs`, redownload);
}

/** Which projections add a bias, as transformers' classes have it. */
function readBias(fields: JsonFields, architecture: string): ModelConfig["bias"] {
  if (architecture === "Qwen2ForCausalLM") return { qkv: true, output: false, mlp: false };
  if (architecture === "MistralForCausalLM") return { qkv: false, output: false, mlp: false };
  const attention = fields.flag("attention_bias", false);
  const mlp = architecture === "LlamaForCausalLM" && fields.flag("mlp_bias", false);
  return { qkv: attention, output: attention, mlp };
}
