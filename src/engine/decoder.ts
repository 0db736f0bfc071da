import type { ModelConfig } from "../checkpoint/config.ts";
import { ModelError } from "../checkpoint/model-error.ts";
import { logitsOutput, slabNames } from "../graph/graph.ts";
import { block } from "../kv/geometry.ts";
import type { SlabMemory } from "../kv/slab.ts";
import { InferenceSession, Tensor } from "../ort/index.ts";
import { OutputCopies } from "../ort/output-copies.ts";
import { sessionOptions } from "../ort/session-options.ts";
import type { Embedding } from "./embedding.ts";
import { givesSameBits } from "./exactness.ts";
import { type Chunk, NewRowMemory, type NewRows, StepOperands } from "./step-operands.ts";

/** The model computes no numbers: its weights, or the engine file that holds them, are damaged. */
export class NotFinite extends ModelError {
  override name = "NotFinite";

  constructor(modelPath: string) {
    const remedy = "The checkpoint is damaged, or made for another configuration; download it again";
    super(modelPath, "computes logits that are not finite numbers", remedy);
  }
}

export interface StepResult {
  rows: NewRows;
  /** The argmax of each slab's logits, where they were wanted. */
  best: number[];
}

/** Runs the graph over the slabs. Knows tensors; knows nothing of sessions. */
export class Decoder {
  readonly #operands = new Map<string, StepOperands>();
  readonly #slabs = new Map<string, Record<string, Tensor>>();
  readonly #copies = new OutputCopies();
  readonly #newRows: NewRowMemory;
  /** [capacity + 1, vocab]: the last logits of the slab at each place, and room for a repeated row behind the last. */
  readonly #logits: Float32Array;
  /**
   * Linear layers are given a multiple of so many rows. MatMulNBits takes rows in pairs; one that is left over goes
   * through another kernel, which gives other bits with blocks of 64 and 128 and, on some processors, with 4 bits.
   * There the last token is run twice, and the second result is thrown away.
   */
  #rowMultiple: 1 | 2 = 1;
  #exact = false;

  private constructor(
    private readonly session: InferenceSession,
    private readonly config: ModelConfig,
    private readonly memory: SlabMemory,
    private readonly embedding: Embedding,
  ) {
    this.#logits = new Float32Array((memory.capacity + 1) * config.vocabSize);
    this.#newRows = new NewRowMemory(config, Math.max(block, 2 * memory.capacity));
  }

  static async load(
    modelPath: string,
    threads: number,
    config: ModelConfig,
    memory: SlabMemory,
    embedding: Embedding,
  ): Promise<Decoder> {
    const session = await InferenceSession.create(modelPath, sessionOptions(threads));
    const decoder = new Decoder(session, config, memory, embedding);
    decoder.#exact = await givesSameBits(decoder, memory);
    if (!decoder.#exact) {
      decoder.#rowMultiple = 2;
      decoder.#exact = await givesSameBits(decoder, memory);
    }
    if (!decoder.logitsOf(0).every(Number.isFinite)) throw new NotFinite(modelPath);
    return decoder;
  }

  /** Whether steps gave the same bits however they were cut, when the model was loaded. */
  get exact(): boolean {
    return this.#exact;
  }

  /**
   * One step for the slabs at the places `first`, `first` + 1, ...: `chunks` all have the same number of tokens. With
   * `wantLogits`, each slab's row of logits then holds those of its last token, and the answer has their argmax.
   */
  async step(first: number, chunks: Chunk[], wantLogits: boolean): Promise<StepResult> {
    const n = chunks.length;
    const asked = chunks[0]?.tokenIds.length ?? 0;
    const tokens = (n * asked) % this.#rowMultiple === 0 ? asked : asked + 1;
    const operands = cached(this.#operands, `${n},${tokens}`, Infinity, () => this.#makeOperands(n, tokens));
    // Any run of places may be asked for in time, a square of the capacity in all.
    const slabs = cached(this.#slabs, `${first},${n}`, 2 * this.memory.capacity, () => this.#slabTensors(first, n));
    chunks.forEach((chunk, i) => {
      operands.fill(i, chunk, this.embedding);
    });
    const rows = wantLogits ? Math.ceil(n / this.#rowMultiple) * this.#rowMultiple : 0;
    const lastRows = BigInt64Array.from({ length: rows }, (_, i) => BigInt(Math.min(i, n - 1) * tokens + asked - 1));
    const feeds = { ...slabs, ...operands.feeds, last: new Tensor("int64", lastRows, [rows]) };
    if (!wantLogits) {
      await this.#run(feeds, operands.fetches);
      return { rows: operands.rows, best: [] };
    }
    const vocab = this.config.vocabSize;
    const logits = this.#logits.subarray(first * vocab, (first + rows) * vocab);
    const displaced = logits.slice(n * vocab);
    const best = new BigInt64Array(rows);
    await this.#run(feeds, {
      ...operands.fetches,
      [logitsOutput]: new Tensor("float32", logits, [rows, vocab]),
      best: new Tensor("int64", best, [rows]),
    });
    logits.set(displaced, n * vocab);
    return { rows: operands.rows, best: Array.from(best.subarray(0, n), Number) };
  }

  /** The last logits of the slab at `place`, [vocab]; valid until its next step. */
  logitsOf(place: number): Float32Array {
    return this.#logits.subarray(place * this.config.vocabSize, (place + 1) * this.config.vocabSize);
  }

  /** Exchanges what two places hold besides their slabs. */
  swap(a: number, b: number): void {
    const held = this.logitsOf(a).slice();
    this.logitsOf(a).set(this.logitsOf(b));
    this.logitsOf(b).set(held);
  }

  async close(): Promise<void> {
    await this.session.release();
    this.embedding.close();
  }

  async #run(feeds: Record<string, Tensor>, fetches: Record<string, Tensor>): Promise<void> {
    await this.session.run(feeds, fetches);
    let bytes = 0;
    for (const { data } of Object.values(fetches)) if (ArrayBuffer.isView(data)) bytes += data.byteLength;
    this.#copies.count(bytes);
  }

  #makeOperands(n: number, tokens: number): StepOperands {
    return new StepOperands(this.config, this.memory, this.#newRows, n, tokens);
  }

  /** The rings and current blocks of n places, as views of the slabs' memory. */
  #slabTensors(first: number, n: number): Record<string, Tensor> {
    const { headDim, kvHeads } = this.config;
    const feeds: Record<string, Tensor> = {};
    const view = (all: Float32Array, rows: number): Tensor => {
      const size = kvHeads * rows * headDim;
      return new Tensor("float32", all.subarray(first * size, (first + n) * size), [n, kvHeads, rows, headDim]);
    };
    const name = (part: "k" | "v", layers: SlabMemory["keys"]) => {
      layers.forEach(({ ring, current }, layer) => {
        feeds[slabNames(part, layer).ring] = view(ring, this.memory.geometry.ringRows);
        feeds[slabNames(part, layer).current] = view(current, block);
      });
    };
    name("k", this.memory.keys);
    name("v", this.memory.values);
    return feeds;
  }
}

/** The value of `key`, made where there is none; what was used longest ago gives way when there are `limit`. */
function cached<T>(map: Map<string, T>, key: string, limit: number, make: () => T): T {
  const value = map.get(key) ?? make();
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > limit && oldest !== undefined) map.delete(oldest);
  return value;
}
