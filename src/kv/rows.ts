import { block, type Geometry } from "./geometry.ts";

/** Numbers that fix the size of a slab's row. */
export interface RowShape {
  layers: number;
  kvHeads: number;
  headDim: number;
  /** How a row's numbers are stored: as they are, or in 8 bits with one scale a row. */
  numbers?: "float32" | "int8";
}

/** Where in a slab a row is. */
export interface RowPlace {
  inRing: boolean;
  row: number;
}

/** What a step computed of one layer, [n, kvHeads, tokens, headDim]; in 8 bits with the scales, [n, kvHeads, tokens]. */
export type FreshRows = Float32Array | { codes: Int8Array; scales: Float32Array };

/** The keys or the values of one layer, of all slabs, each row marked when it is empty. */
export interface Rows {
  /** What the graph reads: [capacity, kvHeads, ringRows, headDim] and [capacity, kvHeads, block, headDim]. */
  readonly ring: Float32Array | Int8Array;
  readonly current: Float32Array | Int8Array;
  readonly ringScales?: Float32Array;
  readonly currentScales?: Float32Array;
  clear(place: number): void;
  emptySinks(place: number): number[];
  /** The sinks of one head, [sink, headDim]. */
  readSinks(place: number, head: number): Float32Array;
  writeSinks(place: number, head: number, sinks: Float32Array): void;
  /** Copies a chunk's rows to the current block from `row` on. */
  writeCurrent(
    place: number,
    row: number,
    fresh: FreshRows | undefined,
    chunk: { index: number; tokens: number; count: number },
  ): void;
  /** Moves the current block's first `count` rows to the ring from `ringRow` on, and leaves the block empty. */
  moveToRing(place: number, ringRow: number, count: number): void;
  /** 32-bit words of one head's row. */
  readonly rowWords: number;
  /** The words of one head's row, to be read at once. */
  readRow(place: number, head: number, at: RowPlace): Float32Array;
  writeRow(place: number, head: number, at: RowPlace, words: Float32Array): void;
  swap(a: number, b: number): void;
  ringIsLive(place: number, row: number): boolean;
  currentIsLive(place: number, row: number): boolean;
  eraseInRing(place: number, row: number): void;
  eraseInCurrent(place: number, row: number): void;
}

/**
 * The first word of a row that holds no token, in the key and in the value: a float of about 4.6e-31. It is harmless
 * where the mask hides it, and no projection ever gives it. It lets the rows of a slab be counted from its memory.
 */
export const emptyWord = 0x0d15ea5e;

/** The rows of one layer's keys or values as float32. */
export class FloatRows implements Rows {
  readonly ring: Float32Array;
  readonly current: Float32Array;
  readonly #ringWords: Uint32Array;
  readonly #currentWords: Uint32Array;
  /** Elements of one slab's ring and current block. */
  readonly #ringSize: number;
  readonly #currentSize: number;

  constructor(
    private readonly geometry: Geometry,
    private readonly shape: RowShape,
    capacity: number,
  ) {
    this.#ringSize = shape.kvHeads * geometry.ringRows * shape.headDim;
    this.#currentSize = shape.kvHeads * block * shape.headDim;
    this.ring = new Float32Array(capacity * this.#ringSize);
    this.current = new Float32Array(capacity * this.#currentSize);
    this.#ringWords = new Uint32Array(this.ring.buffer);
    this.#currentWords = new Uint32Array(this.current.buffer);
  }

  clear(place: number): void {
    this.ring.fill(0, place * this.#ringSize, (place + 1) * this.#ringSize);
    this.current.fill(0, place * this.#currentSize, (place + 1) * this.#currentSize);
    for (let row = 0; row < this.geometry.ringRows; row++) this.eraseInRing(place, row);
    for (let row = 0; row < block; row++) this.eraseInCurrent(place, row);
  }

  readSinks(place: number, head: number): Float32Array {
    const at = place * this.#ringSize + head * this.geometry.ringRows * this.shape.headDim;
    return this.ring.subarray(at, at + this.geometry.sink * this.shape.headDim);
  }

  writeSinks(place: number, head: number, sinks: Float32Array): void {
    this.readSinks(place, head).set(sinks);
  }

  emptySinks(place: number): number[] {
    return Array.from({ length: this.geometry.sink }, (_, row) => row).filter((row) => !this.ringIsLive(place, row));
  }

  writeCurrent(
    place: number,
    row: number,
    fresh: FreshRows | undefined,
    chunk: { index: number; tokens: number; count: number },
  ): void {
    if (fresh === undefined) return;
    if (!(fresh instanceof Float32Array)) throw new TypeError("rows of floats are written as floats");
    const { kvHeads, headDim } = this.shape;
    for (let head = 0; head < kvHeads; head++) {
      const from = (chunk.index * kvHeads + head) * chunk.tokens * headDim;
      const to = place * this.#currentSize + (head * block + row) * headDim;
      this.current.set(fresh.subarray(from, from + chunk.count * headDim), to);
    }
  }

  moveToRing(place: number, ringRow: number, count: number): void {
    const { kvHeads, headDim } = this.shape;
    for (let head = 0; head < kvHeads; head++) {
      const from = place * this.#currentSize + head * block * headDim;
      const to = place * this.#ringSize + (head * this.geometry.ringRows + ringRow) * headDim;
      this.ring.set(this.current.subarray(from, from + count * headDim), to);
    }
    for (let row = 0; row < count; row++) this.eraseInCurrent(place, row);
  }

  get rowWords(): number {
    return this.shape.headDim;
  }

  writeRow(place: number, head: number, at: RowPlace, words: Float32Array): void {
    this.readRow(place, head, at).set(words);
  }

  readRow(place: number, head: number, { inRing, row }: RowPlace): Float32Array {
    const { headDim } = this.shape;
    const rows = inRing ? this.geometry.ringRows : block;
    const from = place * (inRing ? this.#ringSize : this.#currentSize) + (head * rows + row) * headDim;
    return (inRing ? this.ring : this.current).subarray(from, from + headDim);
  }

  swap(a: number, b: number): void {
    exchange(this.ring, this.#ringSize, a, b);
    exchange(this.current, this.#currentSize, a, b);
  }

  ringIsLive(place: number, row: number): boolean {
    return this.#ringWords[place * this.#ringSize + row * this.shape.headDim] !== emptyWord;
  }

  currentIsLive(place: number, row: number): boolean {
    return this.#currentWords[place * this.#currentSize + row * this.shape.headDim] !== emptyWord;
  }

  eraseInRing(place: number, row: number): void {
    this.#ringWords[place * this.#ringSize + row * this.shape.headDim] = emptyWord;
  }

  eraseInCurrent(place: number, row: number): void {
    this.#currentWords[place * this.#currentSize + row * this.shape.headDim] = emptyWord;
  }
}

/** Exchanges the a-th and the b-th of an array's parts. */
export function exchange(array: Float32Array | Int8Array, size: number, a: number, b: number): void {
  const held = array.slice(a * size, (a + 1) * size);
  array.copyWithin(a * size, b * size, (b + 1) * size);
  array.set(held, b * size);
}
