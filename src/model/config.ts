/** What of a checkpoint's config.json changes the mathematics. */
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

export function readConfig(dir: string): ModelConfig {
  throw new Error(`not built yet: ${dir}`);
}

export function readEosTokenIds(dir: string): number[] {
  throw new Error(`not built yet: ${dir}`);
}
