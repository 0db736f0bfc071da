import type { ModelConfig } from "../checkpoint/config.ts";
import type { GraphWriter } from "./onnx.ts";
import type { Device, KvFormat } from "./plan.ts";
import type { tokenInputs } from "./signature.ts";
import type { WeightLayout } from "./weight-layout.ts";

/** What all layers of a decoder are written with. */
export interface Decoder {
  config: ModelConfig;
  kv: KvFormat;
  device: Device;
  writer: GraphWriter;
  weights: WeightLayout;
  inputs: ReturnType<typeof tokenInputs<string>>;
}

/** Values between two sublayers: the sum of all that came before, and that sum normalized. */
export interface Stream {
  residual: string;
  normed: string;
}

/** One layer while it is written: names for its values, and its weights. */
export class Layer {
  constructor(
    readonly decoder: Decoder,
    readonly index: number,
  ) {}

  /** A name for one of the layer's values. */
  at(value: string): string {
    return `${this.index}.${value}`;
  }

  /** A module or tensor of the layer, in the checkpoint's names. */
  named(part: string): string {
    return `model.layers.${this.index}.${part}`;
  }

  linear(x: string, name: string, modules: readonly string[]): string {
    return this.decoder.weights.linear(
      x,
      this.at(name),
      modules.map((module) => this.named(module)),
    );
  }
}

/** `x` normalized by its root mean square, times the checkpoint's vector `weight`. */
export function norm({ config, writer, weights }: Decoder, x: string, weight: string, out: string): string {
  return writer.node("SimplifiedLayerNormalization", [x, weights.vector(weight, [weight])], out, {
    axis: { int: -1 },
    epsilon: config.rmsNormEps,
  });
}

/** Adds what a sublayer computed to the stream, and normalizes the sum for the next sublayer. */
export function addAndNorm(
  { config, writer, weights }: Decoder,
  { residual }: Stream,
  added: string,
  weight: string,
  out: string,
): Stream {
  const sum = `${out}.residual`;
  const inputs = [residual, added, weights.vector(weight, [weight])];
  writer.nodes("SkipSimplifiedLayerNormalization", inputs, [out, "", "", sum], { epsilon: config.rmsNormEps });
  return { residual: sum, normed: out };
}
