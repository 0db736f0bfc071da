import { expect, test } from "bun:test";
import { join } from "node:path";
import { onnx } from "onnx-proto";
import { readConfig } from "../../src/checkpoint/config.ts";
import { openCheckpoint } from "../../src/checkpoint/safetensors.ts";
import { buildGraph } from "../../src/graph/graph.ts";
import { attentionRows } from "../../src/graph/signature.ts";
import { readVectors } from "../../src/graph/weight-file.ts";
import { block, geometry } from "../../src/kv/geometry.ts";
import { productsOf } from "../../tools/matrix-products.ts";

const config = readConfig(join(import.meta.dirname, "../../models/kakeya-tiny"));
const checkpoint = openCheckpoint(join(import.meta.dirname, "../../models/kakeya-tiny"));
const vectors = (names: readonly string[]) => readVectors(checkpoint, names);
const { ringRows } = geometry(4, 64);
const sizes = { ...config, attentionRows: attentionRows(config).perToken, ringRows, block };

for (const quantization of ["q8", "f32"] as const) {
  test(`every linear layer of ${quantization} is kept with its weights, and nothing else`, () => {
    const { model } = buildGraph(config, quantization, vectors);
    const kept = nodes(productsOf(model, sizes, false).model);
    expect(kept).toHaveLength(4 * config.layers + 1);
    const original = new Map(nodes(model).map((node) => [node.output?.[0], node]));
    for (const node of kept) {
      expect(node.input?.slice(1)).toEqual(original.get(node.output?.[0])?.input?.slice(1) ?? []);
    }
  });

  test(`with attention, four products a layer of ${quantization} more, over ring and current block`, () => {
    const products = productsOf(buildGraph(config, quantization, vectors).model, sizes, true);
    expect(nodes(products.model)).toHaveLength(8 * config.layers + 1);
    const shapes = Object.fromEntries(products.inputs.map(({ name, shape }) => [name, shape]));
    const { kvHeads, headDim } = config;
    expect(shapes["k.ring.0"]).toEqual([1, kvHeads, ringRows, headDim]);
    expect(shapes["v.current.0"]).toEqual([1, kvHeads, block, headDim]);
    expect(shapes[`attention.${ringRows}`]).toEqual([1, kvHeads, sizes.attentionRows, ringRows]);
  });
}

function nodes(model: Uint8Array): onnx.INodeProto[] {
  return onnx.ModelProto.decode(model).graph?.node ?? [];
}
