import type { ModelConfig } from "../checkpoint/config.ts";
import type { KvFormat } from "../graph/plan.ts";
import { attentionRows, elementsOf, type GraphValue, newRows, tokenInputs } from "../graph/signature.ts";
import { block, blockStart, type Geometry } from "../kv/geometry.ts";
import { writeMask } from "../kv/mask.ts";
import { writeAngles } from "../kv/rotary.ts";
import type { FreshRows } from "../kv/rows.ts";
import { Tensor } from "../ort/index.ts";
import type { Embedding } from "./embedding.ts";

/** One chunk of one session: `tokenIds` at `position`, within one block. */
export interface Chunk {
  position: number;
  tokenIds: ArrayLike<number>;
}

/** The keys and values of a step by layer, each [n, kvHeads, tokens, headDim]; valid until the next step. */
export interface NewRows {
  keys: FreshRows[];
  values: FreshRows[];
  tokens: number;
}

/**
 * Where every step's new keys and values go, by layer. Steps of all sizes share it: a place for each size would in time
 * be 32 places, which is 121 MB at Qwen3-0.6B's shape.
 */
export class NewRowMemory {
  readonly keys: readonly FreshRows[];
  readonly values: readonly FreshRows[];

  /** Has room for this many tokens, over all sequences of a step. */
  constructor(
    { layers, kvHeads, headDim }: ModelConfig,
    readonly kv: KvFormat,
    readonly tokens: number,
  ) {
    const rows = tokens * kvHeads;
    const room = () =>
      Array.from({ length: layers }, () =>
        kv === "f32"
          ? new Float32Array(rows * headDim)
          : { codes: new Int8Array(rows * headDim), scales: new Float32Array(rows) },
      );
    this.keys = room();
    this.values = room();
  }
}

/** Tensors over arrays, by the names of the graph's values. */
export function namedTensors(
  values: Iterable<readonly [value: GraphValue<number>, data: Tensor.DataType]>,
): Record<string, Tensor> {
  const tensors: Record<string, Tensor> = {};
  for (const [{ name, dtype, shape }, data] of values) tensors[name] = new Tensor(dtype, data, shape);
  return tensors;
}

/** What a step of n sessions with `tokens` rows each is fed besides the slabs, and the new rows it gives. */
export class StepOperands {
  readonly feeds: Record<string, Tensor>;
  readonly fetches: Record<string, Tensor>;
  readonly rows: NewRows;
  readonly #x: Float32Array;
  readonly #cos: Float32Array;
  readonly #sin: Float32Array;
  readonly #mask: Float32Array;
  /** int64 words; their low halves, every other entry (little endian), are all that a row needs. */
  readonly #slots: Int32Array;

  constructor(
    private readonly config: ModelConfig,
    private readonly geometry: Geometry,
    memory: NewRowMemory,
    n: number,
    private readonly tokens: number,
  ) {
    const { headDim, kvHeads } = config;
    const gT = attentionRows(config).perToken * tokens;
    const inputs = tokenInputs(config, { n, T: tokens, nT: n * tokens, gT, rows: geometry.rows });
    this.#x = new Float32Array(elementsOf(inputs.x));
    this.#cos = new Float32Array(elementsOf(inputs.cos));
    this.#sin = new Float32Array(elementsOf(inputs.sin));
    this.#mask = new Float32Array(elementsOf(inputs.mask));
    const slots = new BigInt64Array(elementsOf(inputs.slots));
    for (let i = 0, at = 0; i < n; i++) {
      for (let head = 0; head < kvHeads; head++) {
        for (let t = 0; t < tokens; t++, at += 3) {
          slots[at] = BigInt(i);
          slots[at + 1] = BigInt(head);
        }
      }
    }
    this.#slots = new Int32Array(slots.buffer);
    const ropeRows = BigInt64Array.from({ length: n * tokens }, (_, row) => BigInt(row));
    const parts = BigInt64Array.of(BigInt(geometry.ringRows), BigInt(block));
    this.feeds = namedTensors([
      [inputs.x, this.#x],
      [inputs.cos, this.#cos],
      [inputs.sin, this.#sin],
      [inputs.ropeRows, ropeRows],
      [inputs.slots, slots],
      [inputs.mask, this.#mask],
      [inputs.parts, parts],
    ]);
    const rows = n * kvHeads * tokens;
    const firstRows = (place: FreshRows): FreshRows =>
      place instanceof Float32Array
        ? place.subarray(0, rows * headDim)
        : { codes: place.codes.subarray(0, rows * headDim), scales: place.scales.subarray(0, rows) };
    const keys = memory.keys.map(firstRows);
    const values = memory.values.map(firstRows);
    const outputs = (part: "k" | "v") => (fresh: FreshRows, layer: number) => {
      const { rows, scales } = newRows(config, part, layer, { n, T: tokens }, memory.kv);
      if (fresh instanceof Float32Array) return [[rows, fresh] as const];
      return scales ? [[rows, fresh.codes] as const, [scales, fresh.scales] as const] : [];
    };
    this.fetches = namedTensors([...keys.flatMap(outputs("k")), ...values.flatMap(outputs("v"))]);
    this.rows = { keys, values, tokens };
  }

  /** Writes the operands of the i-th session's chunk. Rows after its last token repeat it. */
  fill(i: number, chunk: Chunk, embedding: Embedding): void {
    const { geometry } = this;
    const { hiddenSize, kvHeads, inverseFrequencies } = this.config;
    const start = blockStart(geometry, chunk.position);
    const last = chunk.tokenIds.length - 1;
    for (let t = 0; t < this.tokens; t++) {
      const asked = Math.min(t, last); // a repetition writes the same row with the same bits
      const at = i * this.tokens + t;
      const position = chunk.position + asked;
      embedding.read(chunk.tokenIds[asked] ?? 0, this.#x, at * hiddenSize);
      writeAngles(this.#cos, this.#sin, at, position, inverseFrequencies);
      for (let head = 0; head < kvHeads; head++) {
        this.#slots[2 * (((i * kvHeads + head) * this.tokens + t) * 3 + 2)] = position - start;
      }
    }
    const copies = attentionRows(this.config).perToken;
    const elements = copies * this.tokens * geometry.rows;
    const mask = this.#mask.subarray(i * elements, (i + 1) * elements);
    writeMask(mask, geometry, chunk.position, this.tokens, copies, chunk.position + last);
  }
}
