/**
 * Small graphs that keep the rings of one sequence on a device, where no program but a graph can write.
 *
 * A sequence has a ring of keys [1, kvHeads, headDim, ringRows] and one of values [1, kvHeads, ringRows, headDim] in
 * each layer; they have the names of the decoder's inputs.
 */
import type { ModelConfig } from "../checkpoint/config.ts";
import { GraphWriter } from "./onnx.ts";
import { cacheInputs, type GraphValue, openSizes } from "./signature.ts";

type Part = "k" | "v";

/** One layer's ring of keys or of values. */
export interface Ring<Size extends number | string> {
  part: Part;
  layer: number;
  value: GraphValue<Size>;
}

/** All rings of n sequences, keys before values in each layer. */
export function ringsOf<Size extends number | string>(config: ModelConfig, n: Size, ringRows: Size): Ring<Size>[] {
  return Array.from({ length: config.layers }, (_, layer) =>
    (["k", "v"] as const).map((part) => {
      const sizes = { n, ringRows, block: ringRows };
      return { part, layer, value: cacheInputs(config, part, layer, sizes, "f32", "gpu").ring };
    }),
  ).flat();
}

/** What the graphs below are fed and give, besides the rings. */
export const ringValues = {
  shape: (part: Part) => `${part}.shape`,
  /** Where new numbers go, and where rows are marked as empty: elements of keys [.., 4], rows of values [.., 3]. */
  slots: (part: Part) => `${part}.slots`,
  erased: (ring: string) => `${ring}.erased`,
  /** As many marks as rows are erased. */
  marks: (ring: string) => `${ring}.marks`,
  fresh: (ring: string) => `${ring}.fresh`,
  written: (ring: string) => `${ring}.written`,
  /** The first word of each row, [2 * layers, ringRows]. */
  firstWords: "first_words",
} as const;

/** Makes all rings of one sequence, each number of them `word`, from the shapes of keys and values. */
export function newRings(config: ModelConfig, word: Float32Array): Uint8Array {
  const writer = new GraphWriter();
  const filling = writer.float32("word", word);
  for (const part of ["k", "v"] as const) writer.input({ name: ringValues.shape(part), dtype: "int64", shape: [4] });
  for (const { part, value: ring } of ringsOf(config, "n", openSizes.ringRows)) {
    writer.node("Expand", [filling, ringValues.shape(part)], ring.name);
    writer.output(ring);
  }
  return writer.finish();
}

/** Writes numbers, marks rows as empty, and reads the first word of every row; see `ringValues`. */
export function writeRings(config: ModelConfig): Uint8Array {
  const writer = new GraphWriter();
  const [key, value] = ["k", "v"] as const;
  writer.input({ name: ringValues.slots(key), dtype: "int64", shape: ["kNumbers", 4] });
  writer.input({ name: ringValues.slots(value), dtype: "int64", shape: ["vRows", 3] });
  const zero = writer.int64([0]);
  const words = ringsOf(config, "n", openSizes.ringRows).map(({ part, value: ring }) => {
    const [erased, marks] = [ringValues.erased(ring.name), ringValues.marks(ring.name)];
    const [fresh, written] = [ringValues.fresh(ring.name), ringValues.written(ring.name)];
    writer.input(ring);
    writer.input({ name: fresh, dtype: "float32", shape: part === "k" ? ["kNumbers"] : ["vRows", config.headDim] });
    writer.input({ name: erased, dtype: "int64", shape: [`${ring.name}.e`, 4] });
    writer.input({ name: marks, dtype: "float32", shape: [`${ring.name}.e`] });
    const filled = writer.node("ScatterND", [ring.name, ringValues.slots(part), fresh], `${ring.name}.filled`);
    writer.node("ScatterND", [filled, erased, marks], written);
    writer.output({ ...ring, name: written });
    const head = writer.node("Gather", [written, zero], `${ring.name}.head`, { axis: { int: 1 } });
    const words = writer.node("Gather", [head, zero], `${ring.name}.words`, { axis: { int: part === "k" ? 2 : 3 } });
    return writer.node("Reshape", [words, writer.int64([1, -1])], `${ring.name}.row`);
  });
  writer.node("Concat", words, ringValues.firstWords, { axis: { int: 0 } });
  writer.output({ name: ringValues.firstWords, dtype: "float32", shape: [2 * config.layers, openSizes.ringRows] });
  return writer.finish();
}

/** The name of the i-th sequence's ring. */
export function ringOf(i: number, ring: string): string {
  return `${ring}.${i}`;
}

/** Puts the rings of n sequences side by side, as a step of several takes them; or copies those of one. */
export function joinRings(config: ModelConfig, n: number): Uint8Array {
  const writer = new GraphWriter();
  for (const { value: ring } of ringsOf(config, "n", openSizes.ringRows)) {
    const parts = Array.from({ length: n }, (_, i) => ringOf(i, ring.name));
    for (const name of parts) writer.input({ ...ring, name, shape: [1, ...ring.shape.slice(1)] });
    writer.node("Concat", parts, ring.name, { axis: { int: 0 } });
    writer.output(ring);
  }
  return writer.finish();
}
