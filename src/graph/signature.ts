/** The inputs and outputs of the graph: the writer declares them, and each step of the engine feeds and fetches them. */

import type { ModelConfig } from "../checkpoint/config.ts";
import type { Device, KvFormat } from "./plan.ts";

/** A size of a step, or its name in the graph, which leaves these sizes open. */
export interface GraphSizes<Size extends number | string> {
  /** n sequences with T tokens each. */
  n: Size;
  T: Size;
  nT: Size;
  /** Rows of the attention's matrices: see `attentionRows`. */
  gT: Size;
  /** Rows of a sequence's cache: the ring, the current block, and both. */
  ringRows: Size;
  block: Size;
  rows: Size;
  /** Rows of [nT] whose logits are wanted. */
  k: Size;
}

export const openSizes: GraphSizes<string> = {
  n: "n",
  T: "T",
  nT: "nT",
  gT: "gT",
  ringRows: "ringRows",
  block: "block",
  rows: "rows",
  k: "k",
};

export interface GraphValue<Size extends number | string> {
  name: string;
  dtype: "float32" | "int64" | "int8";
  shape: (Size | number)[];
}

type Sizes<Size extends number | string, Names extends keyof GraphSizes<Size>> = Pick<GraphSizes<Size>, Names>;

/** What a step of n sequences with T tokens each is fed besides the cache. */
export function tokenInputs<Size extends number | string>(
  { hiddenSize, kvHeads, headDim }: ModelConfig,
  { n, T, nT, gT, rows }: Sizes<Size, "n" | "T" | "nT" | "gT" | "rows">,
) {
  return {
    /** The tokens' embeddings. */
    x: float32("x", n, T, hiddenSize),
    /** The angles of RoPE, a row for each token, and which row belongs to which token. */
    cos: float32("cos", nT, headDim / 2),
    sin: float32("sin", nT, headDim / 2),
    ropeRows: int64("rope_rows", n, T),
    /** Where a token's key and value go: (sequence, head, row of the current block). */
    slots: int64("slots", n, kvHeads, T, 3),
    /** 0 where a query sees a row, -Infinity elsewhere; the ring's rows come first, then the current block's. */
    mask: float32("mask", n, 1, gT, rows),
    /** (ringRows, block): where to split what runs over all rows. */
    parts: int64<Size>("parts", 2),
  };
}

/** A layer's rows in the cache; in 8 bits each has its scales. */
export interface CacheValues<Value> {
  ring: Value;
  current: Value;
  ringScales?: Value;
  currentScales?: Value;
}

/** A layer's new rows; in 8 bits with their scales. */
export interface NewRowValues<Value> {
  rows: Value;
  scales?: Value;
}

/**
 * The cached keys or values of one layer, which a step only reads. In 8 bits, and on a GPU, the ring's keys lie in
 * columns, as their product with the queries wants them.
 */
export function cacheInputs<Size extends number | string>(
  { kvHeads, headDim }: ModelConfig,
  part: "k" | "v",
  layer: number,
  { n, ringRows, block }: Sizes<Size, "n" | "ringRows" | "block">,
  kv: KvFormat,
  device: Device = "cpu",
): CacheValues<GraphValue<Size>> {
  const [ring, current] = [`${part}.ring.${layer}`, `${part}.current.${layer}`];
  if (kv === "f32") {
    const inColumns = part === "k" && device === "gpu";
    return {
      ring: float32(ring, n, kvHeads, ...(inColumns ? [headDim, ringRows] : [ringRows, headDim])),
      current: float32(current, n, kvHeads, block, headDim),
    };
  }
  return {
    ring: int8(ring, n, kvHeads, ...(part === "k" ? [headDim, ringRows] : [ringRows, headDim])),
    ringScales: float32(`${ring}.scales`, n, kvHeads, 1, ringRows),
    current: int8(current, n, kvHeads, block, headDim),
    currentScales: float32(`${current}.scales`, n, kvHeads, block),
  };
}

/** The keys or values that one layer computed of a step's tokens; the engine writes them to the cache. */
export function newRows<Size extends number | string>(
  { kvHeads, headDim }: ModelConfig,
  part: "k" | "v",
  layer: number,
  { n, T }: Sizes<Size, "n" | "T">,
  kv: KvFormat,
): NewRowValues<GraphValue<Size>> {
  const name = `${part}.new.${layer}`;
  return kv === "f32"
    ? { rows: float32(name, n, kvHeads, T, headDim) }
    : { rows: int8(name, n, kvHeads, T, headDim), scales: float32(`${name}.scales`, n, kvHeads, T) };
}

/** The language-model head: the rows of [nT] that are wanted (may be none), their logits and the argmax of these. */
export function headValues<Size extends number | string>(
  { vocabSize }: ModelConfig,
  { k }: Sizes<Size, "k">,
): Record<"last" | "logits" | "best", GraphValue<Size>> {
  return { last: int64("last", k), logits: float32("lm_head.out", k, vocabSize), best: int64("best", k) };
}

/**
 * How many rows of the attention's matrices one token takes, and how often the query is repeated to get there. The
 * query heads of a group are rows of one product. Where a group has a single head, two rows are made of its query: a
 * product with a single row takes another kernel and gives other bits.
 */
export function attentionRows(config: Pick<ModelConfig, "heads" | "kvHeads">): { perToken: number; repeat: 1 | 2 } {
  const group = config.heads / config.kvHeads;
  return group === 1 ? { perToken: 2, repeat: 2 } : { perToken: group, repeat: 1 };
}

/** Elements of a value whose sizes are known. */
export function elementsOf({ shape }: GraphValue<number>): number {
  return shape.reduce((product, size) => product * size, 1);
}

function float32<Size extends number | string>(name: string, ...shape: (Size | number)[]): GraphValue<Size> {
  return { name, dtype: "float32", shape };
}

function int8<Size extends number | string>(name: string, ...shape: (Size | number)[]): GraphValue<Size> {
  return { name, dtype: "int8", shape };
}

function int64<Size extends number | string>(name: string, ...shape: (Size | number)[]): GraphValue<Size> {
  return { name, dtype: "int64", shape };
}
