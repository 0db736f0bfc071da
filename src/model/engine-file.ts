import type { Quantization } from "../engine/engine.ts";
import type { ModelConfig } from "./config.ts";
import type { WeightPlan } from "./plan.ts";

/** What the graph's builder gives for a model: the ONNX file's bytes and the plan of its weight file. */
export interface BuiltGraph {
  plan: WeightPlan;
  /** The ONNX model; its external data is "weights.bin" beside it. */
  model: Uint8Array;
}

export interface EngineFileOptions {
  modelDir: string;
  config: ModelConfig;
  quantization: Quantization;
  /** Root of kakeya's cache; engine files go to `<cacheDir>/engines/<key>/`. */
  cacheDir: string;
  build: (config: ModelConfig, quantization: Quantization) => BuiltGraph;
  /** Version of the graph's builder; another version, another engine file. */
  graphVersion: string;
  onProgress?: (progress: { doneBytes: number; totalBytes: number }) => void;
}

export interface EngineFile {
  dir: string;
  modelPath: string;
  /** SHA-256 (hex) over the weights' bytes, the configuration and the quantization. */
  fingerprint: string;
}

export function ensureEngineFile(options: EngineFileOptions): EngineFile {
  throw new Error(`not built yet: ${options.modelDir}`);
}
