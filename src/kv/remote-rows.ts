import type { Geometry } from "./geometry.ts";
import { emptyWord, FloatRows, type FreshRows, type RowPlace, type RowShape, type Rows } from "./rows.ts";

/** What a ring elsewhere is still to be told, and what it said of its rows. */
class RemoteRing {
  /** Whether it shall be empty first. */
  cleared = true;
  /** Rows that it shall hold, [kvHeads, headDim]. */
  readonly fresh = new Map<number, Float32Array>();
  /** Rows that it shall mark as empty. */
  readonly erased = new Set<number>();
  /** The rows that hold a token, as it was last told or said. */
  readonly live: Uint8Array;
  /** A copy of the sinks, [kvHeads, sink, headDim]. */
  readonly sinks: Float32Array;
  /** A copy of all of it, [kvHeads, ringRows, headDim], while it is saved. */
  copy: Float32Array | undefined;

  constructor({ ringRows, sink }: Geometry, { kvHeads, headDim }: RowShape) {
    this.live = new Uint8Array(ringRows);
    this.sinks = new Float32Array(kvHeads * sink * headDim);
  }
}

/**
 * The rows of one layer's keys or values where the ring lies in another memory, such as a GPU's: the current block is
 * here, and what becomes of the ring is noted down, to be carried out there before it is read.
 */
export class RemoteRows implements Rows {
  readonly ring = new Float32Array(0);
  readonly #here: FloatRows;
  /** By place. */
  readonly #rings: RemoteRing[];
  /** Which of the rings elsewhere is the place's. */
  readonly #ringIds: number[];

  constructor(
    private readonly geometry: Geometry,
    private readonly shape: RowShape,
    capacity: number,
  ) {
    this.#here = new FloatRows({ ...geometry, ringRows: 0 }, shape, capacity);
    this.#rings = Array.from({ length: capacity }, () => new RemoteRing(geometry, shape));
    this.#ringIds = Array.from({ length: capacity }, (_, place) => place);
  }

  get current(): Float32Array {
    return this.#here.current;
  }

  ringId(place: number): number {
    return this.#ringIds[place] ?? 0;
  }

  /** Whether to empty the ring; then rows to write, [kvHeads, headDim] each, and rows to mark as empty. None is both. */
  pending(place: number): {
    cleared: boolean;
    fresh: ReadonlyMap<number, Float32Array>;
    erased: ReadonlySet<number>;
  } {
    return this.#at(place);
  }

  /** What was pending is done; `firstWords` are those of the ring's rows, read from where it lies. */
  settled(place: number, firstWords: Uint32Array): void {
    const ring = this.#at(place);
    const { fresh, erased, live } = ring;
    ring.cleared = false;
    fresh.clear();
    erased.clear();
    for (let row = 0; row < live.length; row++) live[row] = firstWords[row] === emptyWord ? 0 : 1;
  }

  /** A copy of the settled ring, [kvHeads, ringRows, headDim], to be read from; undefined: it is read no more. */
  copied(place: number, ring: Float32Array | undefined): void {
    this.#at(place).copy = ring;
  }

  clear(place: number): void {
    const ring = this.#at(place);
    this.#here.clear(place);
    ring.cleared = true;
    ring.fresh.clear();
    ring.erased.clear();
    ring.live.fill(0);
    ring.sinks.fill(0);
  }

  emptySinks(place: number): number[] {
    return Array.from({ length: this.geometry.sink }, (_, row) => row).filter((row) => !this.ringIsLive(place, row));
  }

  readSinks(place: number, head: number): Float32Array {
    const size = this.geometry.sink * this.shape.headDim;
    return this.#at(place).sinks.subarray(head * size, (head + 1) * size);
  }

  writeSinks(place: number, head: number, sinks: Float32Array): void {
    const { headDim } = this.shape;
    for (let row = 0; row < this.geometry.sink; row++) {
      this.#put(place, head, row, sinks.subarray(row * headDim, (row + 1) * headDim));
    }
  }

  writeCurrent(
    place: number,
    row: number,
    fresh: FreshRows | undefined,
    chunk: { index: number; tokens: number; count: number },
  ): void {
    this.#here.writeCurrent(place, row, fresh, chunk);
  }

  moveToRing(place: number, ringRow: number, count: number): void {
    for (let row = 0; row < count; row++) {
      for (let head = 0; head < this.shape.kvHeads; head++) {
        this.#put(place, head, ringRow + row, this.#here.readRow(place, head, { inRing: false, row }));
      }
      this.#here.eraseInCurrent(place, row);
    }
  }

  get rowWords(): number {
    return this.shape.headDim;
  }

  writeRow(place: number, head: number, at: RowPlace, words: Float32Array): void {
    if (at.inRing) this.#put(place, head, at.row, words);
    else this.#here.writeRow(place, head, at, words);
  }

  readRow(place: number, head: number, at: RowPlace): Float32Array {
    if (!at.inRing) return this.#here.readRow(place, head, at);
    const { copy } = this.#at(place);
    if (copy === undefined) throw new Error("a ring that lies elsewhere is copied before it is read");
    const from = (head * this.geometry.ringRows + at.row) * this.shape.headDim;
    return copy.subarray(from, from + this.shape.headDim);
  }

  swap(a: number, b: number): void {
    this.#here.swap(a, b);
    exchangeEntries(this.#rings, a, b);
    exchangeEntries(this.#ringIds, a, b);
  }

  ringIsLive(place: number, row: number): boolean {
    return this.#at(place).live[row] === 1;
  }

  currentIsLive(place: number, row: number): boolean {
    return this.#here.currentIsLive(place, row);
  }

  eraseInRing(place: number, row: number): void {
    const { fresh, erased, live } = this.#at(place);
    live[row] = 0;
    const pending = fresh.get(row);
    if (pending) new Uint32Array(pending.buffer)[0] = emptyWord;
    else erased.add(row);
  }

  eraseInCurrent(place: number, row: number): void {
    this.#here.eraseInCurrent(place, row);
  }

  #at(place: number): RemoteRing {
    const ring = this.#rings[place];
    if (!ring) throw new RangeError(`there is no place ${place}`);
    return ring;
  }

  /** Notes one head's row; all heads of a row are written one after the other. */
  #put(place: number, head: number, row: number, numbers: Float32Array): void {
    const { fresh, erased, live, sinks } = this.#at(place);
    const { kvHeads, headDim } = this.shape;
    let pending = fresh.get(row);
    if (pending === undefined) {
      pending = new Float32Array(kvHeads * headDim);
      fresh.set(row, pending);
      erased.delete(row);
    }
    pending.set(numbers, head * headDim);
    if (row < this.geometry.sink) sinks.set(numbers, (head * this.geometry.sink + row) * headDim);
    if (head === 0) live[row] = new Uint32Array(pending.buffer)[0] === emptyWord ? 0 : 1;
  }
}

function exchangeEntries<T>(list: T[], a: number, b: number): void {
  const [atA, atB] = list.slice(a, a + 1).concat(list.slice(b, b + 1));
  if (atA === undefined || atB === undefined) throw new RangeError(`there are no places ${a} and ${b}`);
  list[a] = atB;
  list[b] = atA;
}
