import { block, blockStart } from "../kv/geometry.ts";
import { writeMask } from "../kv/mask.ts";
import { writeAngles } from "../kv/rotary.ts";
import type { SlabMemory } from "../kv/slab.ts";
import type { ModelConfig } from "../model/config.ts";
import { attentionRows, logitsOutput, slabNames } from "../model/graph.ts";
import { InferenceSession, Tensor } from "../ort/index.ts";
import type { Embedding } from "./embedding.ts";

/** One chunk of one session: `tokenIds` at `position`, within one block. */
export interface Chunk {
  position: number;
  tokenIds: ArrayLike<number>;
}

/** What a step of n sessions with T tokens each is fed besides the slabs, and the new rows it gives; made once a shape. */
interface Operands {
  x: Float32Array;
  cos: Float32Array;
  sin: Float32Array;
  /** int64 words; their low halves, every other entry (little endian), are all that a row needs. */
  slots: Int32Array;
  mask: Float32Array;
  tensors: Record<string, Tensor>;
  fresh: NewRows;
  fetches: Record<string, Tensor>;
}

/** The slabs of n adjacent places as tensors, and where a step over them leaves its logits. */
interface Places {
  feeds: Record<string, Tensor>;
  logits: Record<string, Tensor>;
  best: BigInt64Array;
  /** Where the logits go when there are more rows than slabs. */
  spare: Float32Array | undefined;
  /** The rows of [n * tokens] whose logits are wanted: each slab's last one that was asked for. */
  last: (tokens: number, asked: number) => Tensor;
}

/** The keys and values of a step by layer, each [n, kvHeads, tokens, headDim]; valid until the next step. */
export interface NewRows {
  keys: Float32Array[];
  values: Float32Array[];
  tokens: number;
}

export interface StepResult {
  rows: NewRows;
  /** The argmax of each slab's logits, where they were wanted. */
  best: number[];
}

const nothing = new Tensor("int64", new BigInt64Array(0), [0]);

/** Runs the graph over slabs in place. Knows tensors; knows nothing of sessions. */
export class Decoder {
  readonly #operands = new Map<string, Operands>();
  readonly #places = new Map<string, Places>();
  /**
   * The fewest rows a step runs. On some processors a linear layer's kernel for a single row gives other bits than the
   * one for more (4 bit on AVX2); there a lone token is run twice and the second result is thrown away.
   */
  #minRows: 1 | 2 = 1;
  /** Whether steps gave the same bits however they were cut, when the model was loaded. */
  exact = false;
  /** [capacity, vocab]: the last logits of the slab at each place. */
  readonly logits: Float32Array;

  private constructor(
    private readonly session: InferenceSession,
    private readonly config: ModelConfig,
    private readonly memory: SlabMemory,
    private readonly embedding: Embedding,
  ) {
    this.logits = new Float32Array(memory.capacity * config.vocabSize);
  }

  static async load(
    modelPath: string,
    options: { threads: number; profilePrefix?: string | undefined },
    config: ModelConfig,
    memory: SlabMemory,
    embedding: Embedding,
  ): Promise<Decoder> {
    const session = await InferenceSession.create(modelPath, {
      intraOpNumThreads: options.threads,
      interOpNumThreads: 1,
      executionMode: "sequential",
      graphOptimizationLevel: "disabled", // the graph is written with the fused operators already
      enableMemPattern: false, // one pattern a shape would be kept for ever
      logSeverityLevel: 3,
      // A thread that spins on a core that somebody else needs holds up every operator: on a busy machine steps took
      // three times as long, on a quiet one not spinning costs 3%.
      extra: { session: { intra_op: { allow_spinning: "0" } } },
      ...(options.profilePrefix ? { enableProfiling: true, profileFilePrefix: options.profilePrefix } : {}),
    });
    const decoder = new Decoder(session, config, memory, embedding);
    await decoder.#checkExactness();
    return decoder;
  }

  /**
   * One step for the slabs at the places `first`, `first` + 1, ...: `chunks` all have the same number of tokens. With
   * `wantLogits`, each slab's row of `logits` then holds those of its last token, and the answer is their argmax.
   */
  async step(first: number, chunks: Chunk[], wantLogits: boolean): Promise<StepResult> {
    const n = chunks.length;
    const asked = chunks[0]?.tokenIds.length ?? 0;
    const tokens = n * asked < this.#minRows ? this.#minRows : asked;
    const operands = cached(this.#operands, `${n},${tokens}`, () => this.#makeOperands(n, tokens));
    const places = cached(this.#places, `${first},${n}`, () => this.#makePlaces(first, n));
    chunks.forEach((chunk, i) => {
      this.#fill(operands, chunk, i, tokens);
    });
    const last = wantLogits ? places.last(tokens, asked) : nothing;
    const fetches = wantLogits ? { ...operands.fetches, ...places.logits } : operands.fetches;
    await this.session.run({ ...places.feeds, ...operands.tensors, last }, fetches);
    if (!wantLogits) return { rows: operands.fresh, best: [] };
    if (places.spare) this.logitsOf(first).set(places.spare.subarray(0, this.config.vocabSize));
    return { rows: operands.fresh, best: Array.from(places.best.subarray(0, n), Number) };
  }

  logitsOf(place: number): Float32Array {
    return this.logits.subarray(place * this.config.vocabSize, (place + 1) * this.config.vocabSize);
  }

  swap(a: number, b: number): void {
    const held = this.logitsOf(a).slice();
    this.logitsOf(a).set(this.logitsOf(b));
    this.logitsOf(b).set(held);
  }

  async close(): Promise<void> {
    this.session.endProfiling(); // writes the profile, if there is one
    await this.session.release();
    this.embedding.close();
  }

  #fill(operands: Operands, chunk: Chunk, i: number, tokens: number): void {
    const { geometry } = this.memory;
    const { hiddenSize, kvHeads, inverseFrequencies } = this.config;
    const rows = attentionRows(this.config).perToken;
    const start = blockStart(geometry, chunk.position);
    const last = chunk.tokenIds.length - 1;
    for (let t = 0; t < tokens; t++) {
      const asked = Math.min(t, last); // rows behind the last token repeat it, and write the same row with the same bits
      const at = i * tokens + t;
      const position = chunk.position + asked;
      this.embedding.read(chunk.tokenIds[asked] ?? 0, operands.x, at * hiddenSize);
      writeAngles(operands.cos, operands.sin, at, position, inverseFrequencies);
      for (let head = 0; head < kvHeads; head++) {
        operands.slots[2 * (((i * kvHeads + head) * tokens + t) * 3 + 2)] = position - start;
      }
    }
    const maskElements = rows * tokens * geometry.rows;
    const mask = operands.mask.subarray(i * maskElements, (i + 1) * maskElements);
    writeMask(mask, geometry, chunk.position, tokens, rows, chunk.position + last);
  }

  #makeOperands(n: number, tokens: number): Operands {
    const { hiddenSize, headDim, kvHeads, layers } = this.config;
    const slabRows = this.memory.geometry.rows;
    const rows = attentionRows(this.config).perToken * tokens;
    const x = new Float32Array(n * tokens * hiddenSize);
    const cos = new Float32Array((n * tokens * headDim) / 2);
    const sin = new Float32Array(cos.length);
    const mask = new Float32Array(n * rows * slabRows);
    const slots = new BigInt64Array(n * kvHeads * tokens * 3);
    for (let i = 0, at = 0; i < n; i++) {
      for (let head = 0; head < kvHeads; head++) {
        for (let t = 0; t < tokens; t++, at += 3) {
          slots[at] = BigInt(i);
          slots[at + 1] = BigInt(head);
        }
      }
    }
    const ropeRows = BigInt64Array.from({ length: n * tokens }, (_, row) => BigInt(row));
    const parts = BigInt64Array.of(BigInt(this.memory.geometry.ringRows), BigInt(block));
    const tensors = {
      x: new Tensor("float32", x, [n, tokens, hiddenSize]),
      cos: new Tensor("float32", cos, [n * tokens, headDim / 2]),
      sin: new Tensor("float32", sin, [n * tokens, headDim / 2]),
      rope_rows: new Tensor("int64", ropeRows, [n, tokens]),
      slots: new Tensor("int64", slots, [n, kvHeads, tokens, 3]),
      mask: new Tensor("float32", mask, [n, 1, rows, slabRows]),
      parts: new Tensor("int64", parts, [2]),
    };
    const layerRows = () => Array.from({ length: layers }, () => new Float32Array(n * kvHeads * tokens * headDim));
    const fresh = { keys: layerRows(), values: layerRows(), tokens };
    const fetches: Record<string, Tensor> = {};
    for (const [part, all] of [
      ["k", fresh.keys],
      ["v", fresh.values],
    ] as const) {
      all.forEach((data, layer) => {
        fetches[slabNames(part, layer).fresh] = new Tensor("float32", data, [n, kvHeads, tokens, headDim]);
      });
    }
    return { x, cos, sin, slots: new Int32Array(slots.buffer), mask, tensors, fresh, fetches };
  }

  #makePlaces(first: number, n: number): Places {
    const { headDim, kvHeads, vocabSize } = this.config;
    const feeds: Record<string, Tensor> = {};
    const slabs = (all: Float32Array, rows: number): Tensor => {
      const size = kvHeads * rows * headDim;
      return new Tensor("float32", all.subarray(first * size, (first + n) * size), [n, kvHeads, rows, headDim]);
    };
    for (const [part, layers] of [
      ["k", this.memory.keys],
      ["v", this.memory.values],
    ] as const) {
      layers.forEach(({ ring, current }, layer) => {
        feeds[slabNames(part, layer).ring] = slabs(ring, this.memory.geometry.ringRows);
        feeds[slabNames(part, layer).current] = slabs(current, block);
      });
    }
    const rows = Math.max(n, this.#minRows);
    const spare = rows > n ? new Float32Array(rows * vocabSize) : undefined;
    const logits = spare ?? this.logits.subarray(first * vocabSize, (first + n) * vocabSize);
    const best = new BigInt64Array(rows);
    const logitsFetches = {
      [logitsOutput]: new Tensor("float32", logits, [rows, vocabSize]),
      best: new Tensor("int64", best, [rows]),
    };
    const lastRows = new BigInt64Array(rows);
    const lastTensor = new Tensor("int64", lastRows, [rows]);
    const last = (tokens: number, asked: number): Tensor => {
      for (let i = 0; i < rows; i++) lastRows[i] = BigInt(Math.min(i, n - 1) * tokens + asked - 1);
      return lastTensor;
    };
    return { feeds, logits: logitsFetches, best, spare, last };
  }

  /** Runs a few tokens whole and cut in pieces on the real weights, and compares the bits of the logits. */
  async #checkExactness(): Promise<void> {
    const tokenIds = [1, 2, 3, 4, 5].map((id) => id % this.config.vocabSize);
    const logitsAfter = async (lengths: number[]): Promise<Uint32Array> => {
      const slab = this.memory.create(0);
      slab.position = this.memory.geometry.sink; // where a block begins
      let done = 0;
      for (const count of lengths) {
        const chunk = { position: slab.position, tokenIds: tokenIds.slice(done, done + count) };
        const { rows } = await this.step(0, [chunk], true);
        this.memory.commit(slab, 0, { ...rows, index: 0, count });
        done += count;
      }
      return new Uint32Array(this.logitsOf(0).slice().buffer);
    };
    for (const minRows of [1, 2] as const) {
      this.#minRows = minRows;
      this.#places.clear(); // they are made for a number of rows
      const whole = await logitsAfter([5]);
      const cut = await logitsAfter([1, 3, 1]);
      this.exact = whole.every((bits, i) => bits === cut[i]);
      if (this.exact) return;
    }
  }
}

function cached<T>(map: Map<string, T>, key: string, make: () => T): T {
  const known = map.get(key);
  if (known) return known;
  const made = make();
  map.set(key, made);
  return made;
}
