import { onnx } from "onnx-proto";

export interface Products {
  /** A serialized ModelProto that reads the same weight file. */
  model: Uint8Array;
  inputs: { name: string; shape: number[] }[];
  /** An output of few elements, so that fetching it costs nothing. */
  output: string;
}

/** The sizes that a graph leaves open, for one token of one session. */
export interface Sizes {
  kvHeads: number;
  headDim: number;
  /** Rows of the attention's matrices. */
  attentionRows: number;
  ringRows: number;
  block: number;
}

/**
 * The model with everything left out but its linear layers, and with `attention` the products of queries and keys and
 * of weights and values too, each fed by inputs of its own: what a step would take if all other nodes cost nothing.
 * Every product keeps its operands' shapes, its weights or slab, its kernel and its place in the order.
 */
export function productsOf(model: Uint8Array, sizes: Sizes, attention: boolean): Products {
  const whole = onnx.ModelProto.decode(model);
  const { node = [], initializer = [] } = whole.graph ?? {};
  const initializers = new Map(initializer?.map((tensor) => [tensor.name, tensor]));
  const producers = new Map(node?.flatMap((one) => (one.output ?? []).map((name) => [name, one] as const)));
  const shapes = new Map<string, number[]>();
  const product = (one: onnx.INodeProto): onnx.INodeProto[] => {
    const second = one.input?.[1] ?? "";
    const weight = initializers.get(second);
    let first: string;
    let slab = second;
    if (weight) {
      const size = Number(one.attribute?.find(({ name }) => name === "K")?.i ?? weight.dims?.[0]);
      first = `x.${size}`;
      shapes.set(first, [1, 1, size]);
    } else {
      if (!attention) return [];
      const scattered = producers.get(second); // the current block with the new rows: here without them
      slab = scattered?.input?.[0] ?? second;
      const rows = scattered ? sizes.block : sizes.ringRows;
      shapes.set(slab, [1, sizes.kvHeads, rows, sizes.headDim]);
      const keys = one.opType === "FusedMatMul";
      first = keys ? "query" : `attention.${rows}`;
      shapes.set(first, [1, sizes.kvHeads, sizes.attentionRows, keys ? sizes.headDim : rows]);
    }
    return [{ ...one, input: [first, slab, ...(one.input ?? []).slice(2)] }];
  };
  const products = (node ?? []).filter(({ opType }) => /MatMul/.test(opType ?? "")).flatMap(product);
  const used = new Set(products.flatMap((one) => one.input));
  const outputs = products.flatMap((one) => one.output ?? []);
  const float = (name: string, dims?: number[]): onnx.IValueInfoProto => ({
    name,
    type: {
      tensorType: {
        elemType: onnx.TensorProto.DataType.FLOAT,
        ...(dims ? { shape: { dim: dims.map((dimValue) => ({ dimValue })) } } : {}),
      },
    },
  });
  const inputs = [...shapes].map(([name, shape]) => ({ name, shape }));
  const graph: onnx.IGraphProto = {
    name: "products",
    node: products,
    initializer: [...initializers.values()].filter(({ name }) => used.has(name ?? "")),
    input: inputs.map(({ name, shape }) => float(name, shape)),
    output: outputs.map((name) => float(name)),
  };
  const output = outputs.find((name) => name.endsWith("down.out")) ?? "";
  return { model: onnx.ModelProto.encode({ ...whole, graph }).finish(), inputs, output };
}
