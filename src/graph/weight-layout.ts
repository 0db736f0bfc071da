import type { GraphWriter } from "./onnx.ts";
import { type BlockFormat, type Planned, type PlannedTensor, type WeightPlan, weightFileName } from "./plan.ts";

/** Gives the vectors of a checkpoint, one after the other. */
export type VectorsOf = (names: readonly string[]) => Float32Array;

/** Lays the weights out in one file, page by page, and names them to the graph. */
export class WeightLayout {
  readonly #entries: Planned[] = [];
  #end = 0;

  constructor(
    private readonly writer: GraphWriter,
    /** Of every tensor of the checkpoint. */
    private readonly shapes: ReadonlyMap<string, readonly number[]>,
    private readonly format: BlockFormat | undefined,
    private readonly vectors: VectorsOf,
  ) {}

  plan(): WeightPlan {
    return { entries: this.#entries, bytes: this.#end };
  }

  /**
   * One linear layer made of the checkpoint's `modules`, whose outputs lie one after the other:
   * x [.., K] times the transposed stack of their weights [N, K], plus their biases where they have any.
   */
  linear(x: string, name: string, modules: readonly string[], out = `${name}.out`): string {
    const sources = modules.map((module) => `${module}.weight`);
    const biases = modules.map((module) => `${module}.bias`).filter((bias) => this.shapes.has(bias));
    const { n, k } = this.#stackedShape(sources);
    const bias = biases.length > 0 ? this.vector(`${name}.bias`, biases) : undefined;
    if (!this.format) {
      const tensor = this.#place(`${name}.weight`, "float32", [k, n]);
      this.#entries.push({ form: "transposed", sources, n, k, tensor });
      const product = this.writer.node("MatMul", [x, this.writer.external(tensor, weightFileName)], out);
      return bias ? this.writer.node("Add", [product, bias], `${out}.biased`) : product;
    }
    const { bits, blockSize } = this.format;
    const blocks = Math.ceil(k / blockSize);
    const packed = this.#place(`${name}.packed`, "uint8", [n, blocks, (blockSize * bits) / 8]);
    const scales = this.#place(`${name}.scales`, "float32", [n * blocks]);
    this.#entries.push({ form: "quantized", sources, n, k, format: this.format, packed, scales });
    const inputs = [x, this.writer.external(packed, weightFileName), this.writer.external(scales, weightFileName)];
    return this.writer.node("MatMulNBits", bias ? [...inputs, "", "", bias] : inputs, out, {
      K: { int: k },
      N: { int: n },
      bits: { int: bits },
      block_size: { int: blockSize },
      accuracy_level: { int: 4 }, // int8 activations: the level whose bits depend least on the number of rows
    });
  }

  /**
   * Vectors of the checkpoint, joined. They are part of the graph: ONNX Runtime packs matrices anew when it loads them
   * but goes on reading vectors where they lie, and a mapped file can be cut off while it is read.
   */
  vector(name: string, sources: string[]): string {
    return this.writer.float32(name, this.vectors(sources));
  }

  /** N outputs of K inputs: the shapes [outputs, K] of `sources`, stacked. */
  #stackedShape(sources: readonly string[]): { n: number; k: number } {
    const shapes = sources.map((source) => this.shapes.get(source) ?? []);
    return { n: shapes.reduce((sum, [outputs = 0]) => sum + outputs, 0), k: shapes[0]?.[1] ?? 0 };
  }

  #place(name: string, dtype: "uint8" | "float32", shape: number[]): PlannedTensor {
    const bytes = shape.reduce((a, b) => a * b, dtype === "uint8" ? 1 : 4);
    const tensor = { name, dtype, shape, offset: this.#end, bytes };
    this.#end = Math.ceil((this.#end + bytes) / 4096) * 4096;
    return tensor;
  }
}
