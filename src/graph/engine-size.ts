import type { ModelConfig } from "../checkpoint/config.ts";
import { checkpointShapes } from "../checkpoint/weight-shapes.ts";
import { buildGraph } from "./graph.ts";
import type { Quantization } from "./plan.ts";

/** What the engine file of a model takes on the disk, in bytes, found without its weights. */
export function engineFileBytes(config: ModelConfig, quantization: Quantization): number {
  const elements = new Map(
    [...checkpointShapes(config)].map(([name, shape]) => [name, shape.reduce((product, size) => product * size, 1)]),
  );
  const zeros = (names: readonly string[]) =>
    new Float32Array(names.reduce((sum, name) => sum + (elements.get(name) ?? 0), 0));
  const { plan, model } = buildGraph(config, quantization, zeros);
  return plan.bytes + model.length;
}
