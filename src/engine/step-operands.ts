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
 * Where every step's operands lie, and its new keys and values by layer. Steps of all sizes share it: there are hundreds
 * of sizes once several sequences run guesses, and only one step runs at a time.
 */
export class StepMemory {
  readonly x: Float32Array;
  readonly cos: Float32Array;
  readonly sin: Float32Array;
  readonly ropeRows: BigInt64Array;
  readonly slots: BigInt64Array;
  readonly mask: Float32Array;
  readonly parts: BigInt64Array;
  readonly keys: readonly FreshRows[];
  readonly values: readonly FreshRows[];

  /** Has room for this many tokens, over all sequences of a step. */
  constructor(
    config: ModelConfig,
    geometry: Geometry,
    readonly kv: KvFormat,
    readonly tokens: number,
  ) {
    const { layers, kvHeads, headDim } = config;
    const inputs = operandShapes(config, geometry, 1, tokens);
    this.x = new Float32Array(elementsOf(inputs.x));
    this.cos = new Float32Array(elementsOf(inputs.cos));
    this.sin = new Float32Array(elementsOf(inputs.sin));
    this.ropeRows = BigInt64Array.from({ length: tokens }, (_, row) => BigInt(row));
    this.slots = new BigInt64Array(elementsOf(inputs.slots));
    this.mask = new Float32Array(elementsOf(inputs.mask));
    this.parts = BigInt64Array.of(BigInt(geometry.ringRows), BigInt(block));
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

function operandShapes(config: ModelConfig, { rows }: Geometry, n: number, tokens: number) {
  return tokenInputs(config, { n, T: tokens, nT: n * tokens, gT: attentionRows(config).perToken * tokens, rows });
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
    memory: StepMemory,
    n: number,
    private readonly tokens: number,
  ) {
    const { headDim, kvHeads } = config;
    const { x, cos, sin, ropeRows, slots, mask, parts } = operandShapes(config, geometry, n, tokens);
    this.#x = memory.x.subarray(0, elementsOf(x));
    this.#cos = memory.cos.subarray(0, elementsOf(cos));
    this.#sin = memory.sin.subarray(0, elementsOf(sin));
    this.#mask = memory.mask.subarray(0, elementsOf(mask));
    const places = memory.slots.subarray(0, elementsOf(slots));
    this.#slots = new Int32Array(places.buffer, 0, 2 * places.length);
    this.feeds = namedTensors([
      [x, this.#x],
      [cos, this.#cos],
      [sin, this.#sin],
      [ropeRows, memory.ropeRows.subarray(0, elementsOf(ropeRows))],
      [slots, places],
      [mask, this.#mask],
      [parts, memory.parts],
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
        const slot = 2 * 3 * ((i * kvHeads + head) * this.tokens + t);
        this.#slots[slot] = i;
        this.#slots[slot + 2] = head;
        this.#slots[slot + 4] = position - start;
      }
    }
    const copies = attentionRows(this.config).perToken;
    const elements = copies * this.tokens * geometry.rows;
    const mask = this.#mask.subarray(i * elements, (i + 1) * elements);
    writeMask(mask, geometry, chunk.position, this.tokens, copies, chunk.position + last);
  }
}
