import type { ModelConfig } from "./config.ts";

/** Every tensor of a checkpoint that the model uses, with its shape, in the names of transformers. */
export function checkpointShapes(config: ModelConfig): Map<string, number[]> {
  const { vocabSize, hiddenSize: hidden, headDim, intermediateSize: inner, bias } = config;
  const queries = config.heads * headDim;
  const keys = config.kvHeads * headDim;
  const shapes = new Map<string, number[]>([["model.embed_tokens.weight", [vocabSize, hidden]]]);

  for (let layer = 0; layer < config.layers; layer++) {
    const linear = (part: string, outputs: number, inputs: number, biased: boolean) => {
      shapes.set(`model.layers.${layer}.${part}.weight`, [outputs, inputs]);
      if (biased) shapes.set(`model.layers.${layer}.${part}.bias`, [outputs]);
    };
    const norm = (part: string, size: number) => shapes.set(`model.layers.${layer}.${part}.weight`, [size]);

    norm("input_layernorm", hidden);
    linear("self_attn.q_proj", queries, hidden, bias.qkv);
    linear("self_attn.k_proj", keys, hidden, bias.qkv);
    linear("self_attn.v_proj", keys, hidden, bias.qkv);
    linear("self_attn.o_proj", hidden, queries, bias.output);
    if (config.qkNorm) {
      norm("self_attn.q_norm", headDim);
      norm("self_attn.k_norm", headDim);
    }
    norm("post_attention_layernorm", hidden);
    linear("mlp.gate_proj", inner, hidden, bias.mlp);
    linear("mlp.up_proj", inner, hidden, bias.mlp);
    linear("mlp.down_proj", hidden, inner, bias.mlp);
  }

  shapes.set("model.norm.weight", [hidden]);
  if (!config.tieWordEmbeddings) shapes.set("lm_head.weight", [vocabSize, hidden]);
  return shapes;
}
