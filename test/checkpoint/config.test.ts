import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readConfig } from "../../src/checkpoint/config.ts";
import { scratchDir } from "../scratch.ts";

const golden = (name: string) => join(import.meta.dir, "../golden", name);

/** A config.json as Qwen3-0.6B's, but small. */
const qwen3 = {
  architectures: ["Qwen3ForCausalLM"],
  model_type: "qwen3",
  hidden_act: "silu",
  hidden_size: 64,
  intermediate_size: 160,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 32,
  vocab_size: 320,
  rms_norm_eps: 1e-6,
  rope_theta: 1_000_000,
  rope_scaling: null,
  use_sliding_window: false,
  sliding_window: null,
  tie_word_embeddings: true,
};

function configOf(json: unknown) {
  using scratch = scratchDir();
  writeFileSync(join(scratch.path, "config.json"), typeof json === "string" ? json : JSON.stringify(json));
  return readConfig(scratch.path);
}

describe("A config.json", () => {
  test("of each golden model says what its oracle computed with", () => {
    expect(readConfig(golden("qwen3-tied"))).toMatchObject({
      architecture: "Qwen3ForCausalLM",
      modelType: "qwen3",
      vocabSize: 320,
      hiddenSize: 64,
      layers: 3,
      heads: 4,
      kvHeads: 2,
      headDim: 32,
      intermediateSize: 160,
      rmsNormEps: 1e-6,
      qkNorm: true,
      bias: { qkv: false, output: false, mlp: false },
      tieWordEmbeddings: true,
    });
    expect(readConfig(golden("qwen2-bias"))).toMatchObject({
      headDim: 16,
      qkNorm: false,
      bias: { qkv: true, output: false, mlp: false },
      tieWordEmbeddings: false,
    });
    expect(readConfig(golden("llama3-rope"))).toMatchObject({ qkNorm: false, bias: { qkv: false } });
  });

  test("of Llama may put biases on the attention and on the feed-forward layers", () => {
    const llama = { ...qwen3, architectures: ["LlamaForCausalLM"], attention_bias: true, mlp_bias: true };
    expect(configOf(llama).bias).toEqual({ qkv: true, output: true, mlp: true });
  });

  test("of Mistral without a window of its own has no biases", () => {
    const mistral = { ...qwen3, architectures: ["MistralForCausalLM"] };
    expect(configOf(mistral)).toMatchObject({ qkNorm: false, bias: { qkv: false, output: false, mlp: false } });
  });

  test("without architectures is known by its model_type", () => {
    const { architectures: _, ...unnamed } = qwen3;
    expect(configOf(unnamed).architecture).toBe("Qwen3ForCausalLM");
  });

  test("may leave out what transformers has a default for", () => {
    const { head_dim: _, rms_norm_eps: __, tie_word_embeddings: ___, ...short } = qwen3;
    expect(configOf(short)).toMatchObject({ headDim: 128, rmsNormEps: 1e-6, tieWordEmbeddings: false });
    expect(configOf({ ...short, architectures: ["Qwen2ForCausalLM"] }).headDim).toBe(16);
    const { num_key_value_heads: ____, ...multiHead } = qwen3;
    expect(configOf({ ...multiHead, architectures: ["LlamaForCausalLM"] }).kvHeads).toBe(4);
  });
});

describe("A config.json is refused, by file, field, value and remedy, when it", () => {
  const cases: [string, Record<string, unknown>, RegExp][] = [
    [
      "is of another architecture",
      { architectures: ["GPT2LMHeadModel"] },
      /architectures is \["GPT2LMHeadModel"\].*Use a checkpoint of Qwen3ForCausalLM, Qwen2ForCausalLM/,
    ],
    [
      "names no known architecture at all",
      { architectures: null, model_type: "mamba" },
      /architectures is null \(model_type "mamba"\)/,
    ],
    ["has another activation", { hidden_act: "gelu" }, /hidden_act is "gelu".*silu/],
    ["is quantized already", { quantization_config: { bits: 4 } }, /quantization_config .*Use the original checkpoint/],
    ["slides a window of its own", { use_sliding_window: true }, /use_sliding_window is true/],
    [
      "slides it in some layers",
      { layer_types: ["full_attention", "sliding_attention"] },
      /layer_types holds "sliding_attention"/,
    ],
    [
      "is a Mistral with a window",
      { architectures: ["MistralForCausalLM"], sliding_window: 4096 },
      /sliding_window is 4096/,
    ],
    ["lacks a size", { hidden_size: undefined }, /hidden_size is missing/],
    ["has a size that is no number", { vocab_size: "many" }, /vocab_size is "many", not a number/],
    ["has a size that is no count", { num_hidden_layers: 2.5 }, /num_hidden_layers is 2.5, not a positive integer/],
    ["has no layers", { num_hidden_layers: 0 }, /num_hidden_layers is 0/],
    ["has an epsilon below zero", { rms_norm_eps: -1 }, /rms_norm_eps is -1, not a number above 0/],
    [
      "has heads that KV heads don't divide",
      { num_key_value_heads: 3 },
      /num_key_value_heads is 3, which does not divide num_attention_heads 4/,
    ],
    ["has heads of odd size", { head_dim: 31 }, /head_dim is 31/],
    ["has a flag that is none", { tie_word_embeddings: "yes" }, /tie_word_embeddings is "yes", not true or false/],
    ["has a name that is none", { hidden_act: 3 }, /hidden_act is 3, not a string/],
    ["rotates a part of each head", { partial_rotary_factor: 0.5 }, /partial_rotary_factor is 0.5/],
    [
      "scales RoPE by yarn",
      { rope_scaling: { rope_type: "yarn", factor: 4 } },
      /rope_scaling.rope_type is "yarn".*llama3/,
    ],
    [
      "scales RoPE by an older name",
      { rope_scaling: { type: "dynamic", factor: 4 } },
      /rope_scaling.type is "dynamic"/,
    ],
    [
      "has RoPE parameters a kind of layer",
      { rope_parameters: { full_attention: { rope_theta: 1 } } },
      /rope_parameters.full_attention is a group of its own/,
    ],
    ["has RoPE parameters that are no object", { rope_parameters: 5 }, /rope_parameters is 5, not an object/],
  ];
  test.each(cases)("%s", (_, change, message) => {
    expect(() => configOf({ ...qwen3, ...change })).toThrow(message);
    expect(() => configOf({ ...qwen3, ...change })).toThrow(/config\.json: /);
  });

  test("is not there", () => {
    using scratch = scratchDir();
    expect(() => readConfig(scratch.path)).toThrow(/config\.json: is missing\. Give the directory of a Hugging Face/);
  });

  test("can't be read", () => {
    using scratch = scratchDir();
    mkdirSync(join(scratch.path, "config.json"));
    expect(() => readConfig(scratch.path)).toThrow(/config\.json: is a directory, not a regular file/);
  });

  test("is no JSON, or no object", () => {
    expect(() => configOf('{"hidden_size": ')).toThrow(/config\.json: is not valid JSON/);
    expect(() => configOf("[]")).toThrow(/config\.json: is JSON, but not an object/);
  });
});
