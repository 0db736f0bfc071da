import { statSync } from "node:fs";
import { readConfig } from "../checkpoint/config.ts";
import { openCheckpoint } from "../checkpoint/safetensors.ts";
import { requireTensors } from "../checkpoint/weight-shapes.ts";
import { engineFileBytes } from "../graph/engine-size.ts";
import type { Quantization } from "../graph/plan.ts";
import { modelMemoryBytes } from "./memory-need.ts";

export interface Servable {
  architecture: string;
  parameters: number;
  /** Bytes of the checkpoint on the disk. */
  weightBytes: number;
  /** What each quantization takes: its engine file, and the memory of a server before any session. */
  sizes: Record<Quantization, { engineFileBytes: number; memoryBytes: number }>;
}

/**
 * Checks a model as the engine does when it loads it, except for the weights themselves. Throws ModelError as it does.
 */
export function servable(dir: string): Servable {
  const config = readConfig(dir);
  const checkpoint = openCheckpoint(dir);
  try {
    const parameters = requireTensors(checkpoint, config);
    const size = (quantization: Quantization) => ({
      engineFileBytes: engineFileBytes(config, quantization),
      memoryBytes: modelMemoryBytes(quantization, parameters),
    });
    return {
      architecture: config.architecture,
      parameters,
      weightBytes: checkpoint.files.reduce((sum, file) => sum + statSync(file).size, 0),
      sizes: { q8: size("q8"), q4: size("q4"), f32: size("f32") },
    };
  } finally {
    checkpoint.close();
  }
}
