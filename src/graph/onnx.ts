import type { onnx } from "onnx-proto";
import type { PlannedTensor } from "./plan.ts";
import type { GraphValue } from "./signature.ts";

export type Attribute = number | { int: number } | { ints: number[] };

/** Loaded when a graph is written, which few starts do. Loading it takes a twentieth of a server's start. */
function library(): typeof onnx {
  const loaded: typeof import("onnx-proto") = require("onnx-proto");
  return loaded.onnx;
}

const elementTypes = { float32: "FLOAT", int64: "INT64", int8: "INT8", uint8: "UINT8" } as const;

function elementType(dtype: keyof typeof elementTypes): onnx.TensorProto.DataType {
  return library().TensorProto.DataType[elementTypes[dtype]];
}

/** The domain of ONNX Runtime's own operators. */
const contrib = "com.microsoft";
const contribOperators = new Set([
  "FusedMatMul",
  "MatMulIntegerToFloat",
  "MatMulNBits",
  "QuickGelu",
  "RotaryEmbedding",
  "SkipSimplifiedLayerNormalization",
]);

/** Collects the nodes of an ONNX graph in the order in which they run; every method returns names of values. */
export class GraphWriter {
  readonly #nodes: onnx.INodeProto[] = [];
  readonly #initializers: onnx.ITensorProto[] = [];
  readonly #inputs: onnx.IValueInfoProto[] = [];
  readonly #outputs: onnx.IValueInfoProto[] = [];
  readonly #shapes = new Map<string, string>();

  /** A graph input; a string in its shape names a size that is known only at run time. */
  input(value: GraphValue<string>): void {
    this.#inputs.push(valueInfo(value));
  }

  output(value: GraphValue<string>): void {
    this.#outputs.push(valueInfo(value));
  }

  /** A node with one output, named `out`. An integer attribute is written `{ int: n }`, a bare number is a float. */
  node(operator: string, inputs: string[], out: string, attributes: Record<string, Attribute> = {}): string {
    this.nodes(operator, inputs, [out], attributes);
    return out;
  }

  nodes(operator: string, inputs: string[], outs: string[], attributes: Record<string, Attribute> = {}): void {
    this.#nodes.push({
      opType: operator,
      domain: contribOperators.has(operator) ? contrib : "",
      name: outs.at(-1) ?? operator,
      input: inputs,
      output: outs,
      attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
    });
  }

  /** A tensor whose bytes lie in the weight file `location`. */
  external(tensor: PlannedTensor, location: string): string {
    this.#initializers.push({
      name: tensor.name,
      dataType: elementType(tensor.dtype === "float32" ? "float32" : "uint8"),
      dims: tensor.shape,
      dataLocation: library().TensorProto.DataLocation.EXTERNAL,
      externalData: [
        { key: "location", value: location },
        { key: "offset", value: String(tensor.offset) },
        { key: "length", value: String(tensor.bytes) },
      ],
    });
    return tensor.name;
  }

  /** A constant float32 vector. */
  float32(name: string, values: Float32Array): string {
    const rawData = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    this.#initializers.push({ name, dataType: elementType("float32"), dims: [values.length], rawData });
    return name;
  }

  /** A constant number; equal ones share one initializer. */
  scalar(dtype: "float32" | "int8" | "uint8", value: number): string {
    const name = `${dtype}.${value}`;
    if (this.#shapes.has(name)) return name;
    const rawData = dtype === "float32" ? new Uint8Array(Float32Array.of(value).buffer) : Uint8Array.of(value);
    this.#initializers.push({ name, dataType: elementType(dtype), dims: [], rawData });
    this.#shapes.set(name, name);
    return name;
  }

  /** A constant int64 vector, as Reshape and Split take it; equal vectors share one initializer. */
  int64(values: number[]): string {
    const key = values.join("_");
    const known = this.#shapes.get(key);
    if (known) return known;
    const name = `int64.${key}`;
    this.#initializers.push({ name, dataType: elementType("int64"), dims: [values.length], int64Data: values });
    this.#shapes.set(key, name);
    return name;
  }

  /** The serialized ModelProto. */
  finish(): Uint8Array {
    const model: onnx.IModelProto = {
      irVersion: 8,
      producerName: "kakeya",
      opsetImport: [
        { domain: "", version: 17 },
        { domain: contrib, version: 1 },
      ],
      graph: {
        name: "decoder",
        node: this.#nodes,
        initializer: this.#initializers,
        input: this.#inputs,
        output: this.#outputs,
      },
    };
    return library().ModelProto.encode(model).finish();
  }
}

function attribute(name: string, value: Attribute): onnx.IAttributeProto {
  const kinds = library().AttributeProto.AttributeType;
  if (typeof value === "number") return { name, type: kinds.FLOAT, f: value };
  return "int" in value ? { name, type: kinds.INT, i: value.int } : { name, type: kinds.INTS, ints: value.ints };
}

function valueInfo({ name, dtype, shape }: GraphValue<string>): onnx.IValueInfoProto {
  const dim = shape.map((size) => (typeof size === "number" ? { dimValue: size } : { dimParam: size }));
  return { name, type: { tensorType: { elemType: elementType(dtype), shape: { dim } } } };
}
