import type { ModelConfig } from "../checkpoint/config.ts";
import { checkpointShapes, embeddingModule } from "../checkpoint/weight-shapes.ts";
import { attend } from "./attention.ts";
import { addAndNorm, type Decoder, Layer, norm, type Stream } from "./layer.ts";
import { GraphWriter } from "./onnx.ts";
import { blockFormats, type Device, type KvFormat, type Quantization, type WeightPlan } from "./plan.ts";
import { headValues, openSizes, tokenInputs } from "./signature.ts";
import { type VectorsOf, WeightLayout } from "./weight-layout.ts";

/** Changes whenever the same checkpoint would give another graph or weight file. */
export const graphVersion = "5";

/**
 * A decoder that attends over a slab in place; signature.ts has its inputs and outputs.
 *
 * One step runs T new tokens of each of n sessions, all of a session's in one block. A layer's keys and values lie in
 * the slab's ring, which is only read, and in its current block, which a copy with the new rows at `slots` stands for.
 * The new rows are outputs, and the host writes them. No cache tensor is concatenated or returned: onnxruntime-node
 * copies what a graph returns, so a slab among the outputs would cost its whole size at every token.
 *
 * Operands have fixed shapes, and `mask` alone says which rows a query sees. The row of each key depends on the query's
 * position alone. So do the order of every sum and every bit of the result: it doesn't matter how the history was cut.
 */
export function buildGraph(
  config: ModelConfig,
  quantization: Quantization,
  vectors: VectorsOf,
  kv: KvFormat = "f32",
  format = quantization === "f32" ? undefined : blockFormats[quantization],
  device: Device = "cpu",
): { plan: WeightPlan; model: Uint8Array } {
  const writer = new GraphWriter();
  const weights = new WeightLayout(writer, checkpointShapes(config), format, vectors);
  const inputs = tokenInputs(config, openSizes);
  const head = headValues(config, openSizes);
  for (const input of [...Object.values(inputs), head.last]) writer.input(input);

  const decoder: Decoder = { config, kv, device, writer, weights, inputs };
  const layers = Array.from({ length: config.layers }, (_, index) => new Layer(decoder, index));
  const inputNorm = (layer: Layer | undefined) => layer?.named("input_layernorm.weight") ?? "model.norm.weight";

  const embedded = inputs.x.name;
  let stream: Stream = { residual: embedded, normed: norm(decoder, embedded, inputNorm(layers[0]), "x.norm") };
  for (const layer of layers) {
    const attended = attend(layer, stream.normed);
    stream = addAndNorm(decoder, stream, attended, layer.named("post_attention_layernorm.weight"), layer.at("mlp.in"));
    const fed = feedForward(layer, stream.normed);
    stream = addAndNorm(decoder, stream, fed, inputNorm(layers[layer.index + 1]), layer.at("out"));
  }

  const rows = writer.node("Reshape", [stream.normed, writer.int64([-1, config.hiddenSize])], "hidden");
  const wanted = writer.node("Gather", [rows, head.last.name], "hidden.last", { axis: { int: 0 } });
  weights.linear(wanted, "lm_head", [config.tieWordEmbeddings ? embeddingModule : "lm_head"], head.logits.name);
  writer.output(head.logits);
  writer.node("ArgMax", [head.logits.name], head.best.name, { axis: { int: 1 }, keepdims: { int: 0 } });
  writer.output(head.best);

  return { plan: weights.plan(), model: writer.finish() };
}

/** SwiGLU: down(silu(gate(x)) * up(x)). */
function feedForward(layer: Layer, x: string): string {
  const { config, writer } = layer.decoder;
  const inner = config.intermediateSize;
  const [gate, up] = [layer.at("gate"), layer.at("up")];
  const gateUp = layer.linear(x, "gate_up", ["mlp.gate_proj", "mlp.up_proj"]);
  writer.nodes("Split", [gateUp, writer.int64([inner, inner])], [gate, up], { axis: { int: 2 } });
  const silu = writer.node("QuickGelu", [gate], layer.at("silu"), { alpha: 1 }); // x * sigmoid(x)
  return layer.linear(writer.node("Mul", [silu, up], layer.at("gated")), "down", ["mlp.down_proj"]);
}
