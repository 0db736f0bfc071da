import { block, type Geometry } from "./geometry.ts";
import { exchange, type FreshRows, type RowPlace, type RowShape, type Rows } from "./rows.ts";

/**
 * The scale of a row that holds no token, in the first head of key and value: a float of about 4.6e-31. No row that is
 * written has one so small (see `leastMagnitude`).
 */
const emptyScale = 0x0d15ea5e;

/** The magnitude that counts as the largest of a row of nothing but smaller ones. */
const leastMagnitude = 1e-25;

/**
 * The rows of one layer's keys or values in 8 bits: a row's numbers are codes from -127 to 127 times its scale. The
 * ring's rows of keys lie in columns, [headDim, ringRows], as a product with queries reads them.
 */
export class IntegerRows implements Rows {
  /** [capacity, kvHeads, ringRows, headDim], or columns: [capacity, kvHeads, headDim, ringRows]. */
  readonly ring: Int8Array;
  /** [capacity, kvHeads, block, headDim] */
  readonly current: Int8Array;
  /** [capacity, kvHeads, ringRows] and [capacity, kvHeads, block] */
  readonly ringScales: Float32Array;
  readonly currentScales: Float32Array;
  readonly #ringMarks: Uint32Array;
  readonly #currentMarks: Uint32Array;

  constructor(
    private readonly geometry: Geometry,
    private readonly shape: RowShape,
    capacity: number,
    private readonly inColumns: boolean,
  ) {
    const { kvHeads, headDim } = shape;
    this.ringScales = new Float32Array(capacity * kvHeads * geometry.ringRows);
    this.currentScales = new Float32Array(capacity * kvHeads * block);
    this.ring = new Int8Array(this.ringScales.length * headDim);
    this.current = new Int8Array(this.currentScales.length * headDim);
    this.#ringMarks = new Uint32Array(this.ringScales.buffer);
    this.#currentMarks = new Uint32Array(this.currentScales.buffer);
  }

  clear(place: number): void {
    const { kvHeads, headDim } = this.shape;
    const { ringRows } = this.geometry;
    for (const [codes, scales, rows] of [
      [this.ring, this.ringScales, ringRows],
      [this.current, this.currentScales, block],
    ] as const) {
      const size = kvHeads * rows;
      scales.fill(0, place * size, (place + 1) * size);
      codes.fill(0, place * size * headDim, (place + 1) * size * headDim);
    }
    for (let row = 0; row < ringRows; row++) this.eraseInRing(place, row);
    for (let row = 0; row < block; row++) this.eraseInCurrent(place, row);
  }

  emptySinks(place: number): number[] {
    return Array.from({ length: this.geometry.sink }, (_, row) => row).filter((row) => !this.ringIsLive(place, row));
  }

  readSinks(place: number, head: number): Float32Array {
    const { headDim } = this.shape;
    const sinks = new Float32Array(this.geometry.sink * headDim);
    for (let row = 0; row < this.geometry.sink; row++) {
      const scale = this.ringScales[this.#ringRow(place, head, row)] ?? 0;
      for (let i = 0; i < headDim; i++) {
        sinks[row * headDim + i] = (this.ring[this.#inRing(place, head, row, i)] ?? 0) * scale;
      }
    }
    return sinks;
  }

  writeSinks(place: number, head: number, sinks: Float32Array): void {
    const { headDim } = this.shape;
    for (let row = 0; row < this.geometry.sink; row++) {
      const numbers = sinks.subarray(row * headDim, (row + 1) * headDim);
      const largest = numbers.reduce((most, number) => Math.max(most, Math.abs(number)), leastMagnitude);
      this.ringScales[this.#ringRow(place, head, row)] = largest / 127;
      for (let i = 0; i < headDim; i++) {
        this.ring[this.#inRing(place, head, row, i)] = Math.round(((numbers[i] ?? 0) / largest) * 127);
      }
    }
  }

  writeCurrent(
    place: number,
    row: number,
    fresh: FreshRows | undefined,
    chunk: { index: number; tokens: number; count: number },
  ): void {
    if (fresh === undefined) return;
    if (fresh instanceof Float32Array) throw new TypeError("rows of 8 bits are written as codes with scales");
    const { kvHeads, headDim } = this.shape;
    for (let head = 0; head < kvHeads; head++) {
      const from = (chunk.index * kvHeads + head) * chunk.tokens;
      const to = this.#currentRow(place, head, row);
      this.currentScales.set(fresh.scales.subarray(from, from + chunk.count), to);
      this.current.set(fresh.codes.subarray(from * headDim, (from + chunk.count) * headDim), to * headDim);
    }
  }

  moveToRing(place: number, ringRow: number, count: number): void {
    const { kvHeads } = this.shape;
    for (let head = 0; head < kvHeads; head++) {
      const from = this.#currentRow(place, head, 0);
      this.ringScales.set(this.currentScales.subarray(from, from + count), this.#ringRow(place, head, ringRow));
      for (let row = 0; row < count; row++) this.#putCodes(place, head, ringRow + row, this.#codesAt(from + row));
    }
    for (let row = 0; row < count; row++) this.eraseInCurrent(place, row);
  }

  get rowWords(): number {
    return this.shape.headDim / 4 + 1;
  }

  /** The codes, four to a word, and the scale. */
  readRow(place: number, head: number, { inRing, row }: RowPlace): Float32Array {
    const { headDim } = this.shape;
    const words = new Float32Array(this.rowWords);
    const codes = new Int8Array(words.buffer, 0, headDim);
    if (inRing) for (let i = 0; i < headDim; i++) codes[i] = this.ring[this.#inRing(place, head, row, i)] ?? 0;
    else codes.set(this.#codesAt(this.#currentRow(place, head, row)));
    const [scales, at] = this.#scaleAt(place, head, { inRing, row });
    words.set(scales.subarray(at, at + 1), this.rowWords - 1);
    return words;
  }

  writeRow(place: number, head: number, { inRing, row }: RowPlace, words: Float32Array): void {
    const { headDim } = this.shape;
    const codes = new Int8Array(words.buffer, words.byteOffset, headDim);
    if (inRing) this.#putCodes(place, head, row, codes);
    else this.current.set(codes, this.#currentRow(place, head, row) * headDim);
    const [scales, at] = this.#scaleAt(place, head, { inRing, row });
    scales.set(words.subarray(this.rowWords - 1), at);
  }

  swap(a: number, b: number): void {
    const { kvHeads, headDim } = this.shape;
    const ringSize = kvHeads * this.geometry.ringRows;
    exchange(this.ringScales, ringSize, a, b);
    exchange(this.ring, ringSize * headDim, a, b);
    exchange(this.currentScales, kvHeads * block, a, b);
    exchange(this.current, kvHeads * block * headDim, a, b);
  }

  ringIsLive(place: number, row: number): boolean {
    return this.#ringMarks[this.#ringRow(place, 0, row)] !== emptyScale;
  }

  currentIsLive(place: number, row: number): boolean {
    return this.#currentMarks[this.#currentRow(place, 0, row)] !== emptyScale;
  }

  eraseInRing(place: number, row: number): void {
    this.#ringMarks[this.#ringRow(place, 0, row)] = emptyScale;
  }

  eraseInCurrent(place: number, row: number): void {
    this.#currentMarks[this.#currentRow(place, 0, row)] = emptyScale;
  }

  #ringRow(place: number, head: number, row: number): number {
    return (place * this.shape.kvHeads + head) * this.geometry.ringRows + row;
  }

  #currentRow(place: number, head: number, row: number): number {
    return (place * this.shape.kvHeads + head) * block + row;
  }

  /** Where in the ring the i-th code of a row is. */
  #inRing(place: number, head: number, row: number, i: number): number {
    const { headDim } = this.shape;
    if (!this.inColumns) return this.#ringRow(place, head, row) * headDim + i;
    return this.#ringRow(place, head, 0) * headDim + i * this.geometry.ringRows + row;
  }

  #putCodes(place: number, head: number, ringRow: number, codes: Int8Array): void {
    const from = this.#inRing(place, head, ringRow, 0);
    if (!this.inColumns) this.ring.set(codes, from);
    else for (let i = 0; i < codes.length; i++) this.ring[from + i * this.geometry.ringRows] = codes[i] ?? 0;
  }

  #codesAt(currentRow: number): Int8Array {
    const { headDim } = this.shape;
    return this.current.subarray(currentRow * headDim, (currentRow + 1) * headDim);
  }

  #scaleAt(place: number, head: number, { inRing, row }: RowPlace): [scales: Float32Array, at: number] {
    return inRing
      ? [this.ringScales, this.#ringRow(place, head, row)]
      : [this.currentScales, this.#currentRow(place, head, row)];
  }
}
