import type { ModelConfig } from "../checkpoint/config.ts";
import { ModelError } from "../checkpoint/model-error.ts";
import type { KvFormat } from "../graph/plan.ts";
import { type CacheValues, cacheInputs, elementsOf, type GraphValue, headValues } from "../graph/signature.ts";
import { block } from "../kv/geometry.ts";
import type { Rows } from "../kv/rows.ts";
import type { ChunkRows } from "../kv/slab.ts";
import type { SlabMemory } from "../kv/slab-memory.ts";
import type { Tensor } from "../ort/index.ts";
import { freeCopies } from "../ort/output-copies.ts";
import type { Wanted } from "./backend.ts";
import type { Embedding } from "./embedding.ts";
import { type RowMultiple, stepSize } from "./row-rule.ts";
import { type Chunk, namedTensors, StepMemory, StepOperands } from "./step-operands.ts";

/** The model computes no numbers: its weights, or the engine file that holds them, are damaged. */
export class NotFinite extends ModelError {
  override name = "NotFinite";

  constructor(modelPath: string) {
    const remedy = "The checkpoint is damaged, or made for another configuration; download it again";
    super(modelPath, "computes logits that are not finite numbers", remedy);
  }
}

/** Sizes of steps whose tensors are kept; to make them again takes a hundred microseconds. */
const mostSizes = 64;

/** What a step computed of each of its chunks; valid until the next step. */
export interface StepResult {
  rows(i: number): Omit<ChunkRows, "count">;
  /** [vocab] after token t of chunk i, where it was wanted, and its argmax. */
  logits(i: number, t: number): Float32Array;
  best(i: number, t: number): number;
}

/** The decoder's graph, loaded on a device. */
export interface GraphSession {
  run(feeds: Record<string, Tensor>, fetches: Record<string, Tensor>): Promise<Readonly<Record<string, Tensor>>>;
  release(): Promise<void>;
}

/** Rings that lie where a graph can't see them as part of the slabs' memory. */
export interface RemoteRings {
  /** What a step of n places reads. */
  feeds(first: number, n: number): Promise<Record<string, Tensor>>;
}

/** Runs the graph over slabs. It knows tensors, but not sequences. */
export class Decoder {
  readonly #operands = new Map<string, StepOperands>();
  readonly #slabs = new Map<string, Record<string, Tensor>>();
  readonly #stepMemory: StepMemory;
  /** Where steps' logits go, [rows, vocab]; as large as the largest step needed. */
  #logits = new Float32Array(0);
  /** Steps run a multiple of this many rows. */
  rowMultiple: RowMultiple = 1;

  constructor(
    private readonly session: GraphSession,
    private readonly config: ModelConfig,
    private readonly memory: SlabMemory,
    private readonly embedding: Embedding,
    private readonly kv: KvFormat,
    private readonly rings?: RemoteRings,
  ) {
    const tokens = Math.ceil(Math.max(block, memory.capacity) / block) * block;
    this.#stepMemory = new StepMemory(config, memory.geometry, kv, tokens);
  }

  /** The most rows that one step may have: tokens of all its chunks, each counted as long as the longest. */
  get mostRows(): number {
    return this.#stepMemory.tokens;
  }

  /** One step for the slabs at the places `first`, `first` + 1, ..., each with a chunk of its own. */
  async step(first: number, chunks: readonly Chunk[], wanted: Wanted): Promise<StepResult> {
    const longest = Math.max(...chunks.map(({ tokenIds }) => tokenIds.length));
    const { n, tokens } = stepSize(chunks.length, longest, this.memory.capacity, this.rowMultiple);
    const from = Math.min(first, this.memory.capacity - n);
    const skipped = first - from;
    const operands = cached(this.#operands, `${n},${tokens}`, mostSizes, () => this.#makeOperands(n, tokens));
    // In time, any run of places may be asked for: as many as the square of the capacity.
    const slabs = cached(this.#slabs, `${from},${n}`, 2 * this.memory.capacity, () => this.#slabTensors(from, n));
    for (let i = 0; i < n; i++) {
      // Slabs that only fill up the rows run another's chunk, and their results are ignored.
      const chunk = chunks[i - skipped] ?? chunks[0];
      if (chunk) operands.fill(i, chunk, this.embedding);
    }
    this.embedding.requireUnchanged();
    const starts: number[] = [];
    const rows: number[] = [];
    for (const [i, { tokenIds }] of chunks.entries()) {
      starts.push(rows.length);
      const row = (i + skipped) * tokens;
      for (let t = wanted === "all" ? 0 : tokenIds.length - 1; t < tokenIds.length; t++) rows.push(row + t);
    }
    const rings = await this.rings?.feeds(from, n);
    const { best, logits } = await this.#run(
      { ...slabs, ...rings, ...operands.feeds },
      operands,
      wanted === "none" ? [] : rows,
    );
    const rowOf = (i: number, t: number) => (starts[i] ?? 0) + (wanted === "all" ? t : 0);
    const vocab = this.config.vocabSize;
    return {
      rows: (i) => ({ ...operands.rows, index: i + skipped }),
      logits: (i, t) => logits.subarray(rowOf(i, t) * vocab, (rowOf(i, t) + 1) * vocab),
      best: (i, t) => Number(best[rowOf(i, t)]),
    };
  }

  /** Gives back the memory that only the largest step so far needed. */
  trim(): void {
    this.#logits.buffer.transfer(0);
    this.#logits = new Float32Array(0);
  }

  async close(): Promise<void> {
    await this.session.release();
    this.embedding.close();
  }

  /** Runs the graph, with the logits of `wantedRows`. The head's rows are padded by the row rule, too. */
  async #run(
    feeds: Record<string, Tensor>,
    operands: StepOperands,
    wantedRows: number[],
  ): Promise<{ best: BigInt64Array; logits: Float32Array }> {
    const rows = Math.ceil(wantedRows.length / this.rowMultiple) * this.rowMultiple;
    const last = BigInt64Array.from({ length: rows }, (_, i) => BigInt(wantedRows[i] ?? wantedRows.at(-1) ?? 0));
    const best = new BigInt64Array(rows);
    const logits = this.#logitsOf(rows);
    const head = headValues(this.config, { k: rows });
    const headFetches = [[head.logits, logits] as const, [head.best, best] as const];
    const fetches = { ...operands.fetches, ...(rows > 0 ? namedTensors(headFetches) : {}) };
    freeCopies(await this.session.run({ ...feeds, ...namedTensors([[head.last, last]]) }, fetches), fetches);
    return { best, logits };
  }

  #makeOperands(n: number, tokens: number): StepOperands {
    return new StepOperands(this.config, this.memory.geometry, this.#stepMemory, n, tokens);
  }

  #logitsOf(rows: number): Float32Array {
    const size = rows * this.config.vocabSize;
    if (this.#logits.length < size) this.#logits = new Float32Array(size);
    return this.#logits.subarray(0, size);
  }

  /** What is in the slabs' memory of n places: current blocks, and rings that don't lie elsewhere. */
  #slabTensors(first: number, n: number): Record<string, Tensor> {
    const { ringRows } = this.memory.geometry;
    const views = (values: CacheValues<GraphValue<number>>, rows: Rows) =>
      (["ring", "ringScales", "current", "currentScales"] as const).flatMap((name) => {
        const [value, all] = [values[name], rows[name]];
        if (!value || !all || (this.rings && name === "ring")) return [];
        const size = elementsOf(value) / n;
        return [[value, all.subarray(first * size, (first + n) * size)] as const];
      });
    const sizes = { n, ringRows, block };
    return namedTensors(
      this.memory.layers.flatMap(({ key, value }, layer) => [
        ...views(cacheInputs(this.config, "k", layer, sizes, this.kv), key),
        ...views(cacheInputs(this.config, "v", layer, sizes, this.kv), value),
      ]),
    );
  }
}

/** The value of `key`, made if there is none. Beyond `limit` values, the one that was used longest ago is dropped. */
function cached<T>(map: Map<string, T>, key: string, limit: number, make: () => T): T {
  const value = map.get(key) ?? make();
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > limit && oldest !== undefined) map.delete(oldest);
  return value;
}
