import type { ModelConfig } from "./config.ts";
import type { Checkpoint } from "./safetensors.ts";

/** The table of embeddings. Where a model ties them, it is the language-model head too. */
export const embeddingModule = "model.embed_tokens";
export const embeddingName = `${embeddingModule}.weight`;

/** Every tensor of a checkpoint that the model uses, with its shape, in the names of transformers. */
export function checkpointShapes(config: ModelConfig): Map<string, number[]> {
  return new Map(neededTensors(config));
}

/**
 * Throws ModelError unless the checkpoint holds them all. It stops at the first that is missing, so that a billion
 * layers cost no more than one. Returns how many numbers they hold.
 */
export function requireTensors(checkpoint: Checkpoint, config: ModelConfig): number {
  let elements = 0;
  for (const [name, shape] of neededTensors(config)) elements += checkpoint.require(name, shape).elements;
  return elements;
}

function* neededTensors(config: ModelConfig): Generator<[name: string, shape: number[]]> {
  const { vocabSize, hiddenSize: hidden, headDim, intermediateSize: inner, bias } = config;
  const queries = config.heads * headDim;
  const keys = config.kvHeads * headDim;
  yield [embeddingName, [vocabSize, hidden]];

  for (let layer = 0; layer < config.layers; layer++) {
    const linear = (part: string, outputs: number, inputs: number, biased: boolean): [string, number[]][] => {
      const weight: [string, number[]] = [`model.layers.${layer}.${part}.weight`, [outputs, inputs]];
      return biased ? [weight, [`model.layers.${layer}.${part}.bias`, [outputs]]] : [weight];
    };
    const norm = (part: string, size: number): [string, number[]] => [`model.layers.${layer}.${part}.weight`, [size]];

    yield norm("input_layernorm", hidden);
    yield* linear("self_attn.q_proj", queries, hidden, bias.qkv);
    yield* linear("self_attn.k_proj", keys, hidden, bias.qkv);
    yield* linear("self_attn.v_proj", keys, hidden, bias.qkv);
    yield* linear("self_attn.o_proj", hidden, queries, bias.output);
    if (config.qkNorm) {
      yield norm("self_attn.q_norm", headDim);
      yield norm("self_attn.k_norm", headDim);
    }
    yield norm("post_attention_layernorm", hidden);
    yield* linear("mlp.gate_proj", inner, hidden, bias.mlp);
    yield* linear("mlp.up_proj", inner, hidden, bias.mlp);
    yield* linear("mlp.down_proj", hidden, inner, bias.mlp);
  }

  yield ["model.norm.weight", [hidden]];
  if (!config.tieWordEmbeddings) yield ["lm_head.weight", [vocabSize, hidden]];
}
