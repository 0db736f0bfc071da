import {
  block,
  blockEnd,
  blockStart,
  type Geometry,
  liveRows,
  oldestInWindow,
  ringRowOf,
  sinkShift,
} from "./geometry.ts";
import { rotateKeys, rotationBy } from "./rotary.ts";
import type { FreshRows, RowPlace, Rows } from "./rows.ts";
import type { Layer, SlabMemory } from "./slab-memory.ts";

/** One session's share of what a step computed. */
export interface ChunkRows {
  /** By layer. */
  readonly keys: readonly FreshRows[];
  readonly values: readonly FreshRows[];
  readonly tokens: number;
  /** Which of the n is the session's, and how many of its first tokens belong to the history. */
  readonly index: number;
  readonly count: number;
}

/** What a slab holds besides its rows, as numbers that can be written down. */
export interface SlabFacts {
  position: number;
  shift: number;
}

/** One session's key/value cache of fixed size: its part of the slabs' memory, and what that part holds. */
export class Slab {
  #position = 0;
  /** By how much the sinks' keys in the ring are rotated. */
  #shift = 0;
  /** Live rows of each layer, as seen in memory when they were written and evicted. */
  readonly #rowCounts: Int32Array;
  /** The sinks' keys as the model computed them, [layers, kvHeads, sink, headDim]. */
  readonly #sinkKeys: Float32Array;

  /** An empty slab at `place`; whatever was there is erased. */
  constructor(
    private readonly memory: SlabMemory,
    public place: number,
  ) {
    const { layers, kvHeads, headDim } = memory.shape;
    for (const { key, value } of memory.layers) {
      key.clear(place);
      value.clear(place);
    }
    this.#rowCounts = new Int32Array(layers);
    this.#sinkKeys = new Float32Array(layers * kvHeads * memory.geometry.sink * headDim);
  }

  /** Tokens ever cached = position of the next one. */
  get position(): number {
    return this.#position;
  }

  /** Live rows of each layer. */
  get rowCounts(): Int32Array {
    return this.#rowCounts;
  }

  get #geometry(): Geometry {
    return this.memory.geometry;
  }

  /** Before a chunk: rotates the sinks to where they belong for the next position. */
  prepare(): void {
    const shift = sinkShift(this.#geometry, this.#position);
    if (shift === this.#shift) return;
    const rotation = rotationBy(shift, this.memory.inverseFrequencies);
    const rotated = new Float32Array(this.#geometry.sink * this.memory.shape.headDim);
    for (const [layer, { key }] of this.memory.layers.entries()) {
      // Writing a row again would cover the mark of an erased one, and with it the evidence that a row was damaged.
      const erased = key.emptySinks(this.place);
      for (let head = 0; head < this.memory.shape.kvHeads; head++) {
        rotateKeys(rotated, this.#sinkKeysOf(layer, head), rotation);
        key.writeSinks(this.place, head, rotated);
      }
      for (const row of erased) key.eraseInRing(this.place, row);
    }
    this.#shift = shift;
  }

  /**
   * After a step: writes the first `count` of the chunk's new rows and advances the position. Rows that leave the
   * window are erased; a block that became full moves into the ring. Rows are counted by looking at them.
   */
  commit(rows: ChunkRows): void {
    const g = this.#geometry;
    const before = this.#position;
    const after = before + rows.count;
    const row = before - blockStart(g, before);
    const full = after === blockEnd(g, before);
    for (const [layer, { key, value }] of this.memory.layers.entries()) {
      key.writeCurrent(this.place, row, rows.keys[layer], rows);
      value.writeCurrent(this.place, row, rows.values[layer], rows);
      let count = this.#rowCounts[layer] ?? 0;
      for (let i = row; i < row + rows.count; i++) {
        if (key.currentIsLive(this.place, i) && value.currentIsLive(this.place, i)) count++;
      }
      for (let p = oldestInWindow(g, before); p < oldestInWindow(g, after); p++) {
        const evicted = rowPlaceOf(g, p, before);
        if (this.#isLive({ key, value }, evicted)) count--;
        this.#erase({ key, value }, evicted);
      }
      this.#rowCounts[layer] = count;
      if (full) {
        key.moveToRing(this.place, ringRowOf(g, before - row), row + rows.count);
        value.moveToRing(this.place, ringRowOf(g, before - row), row + rows.count);
        if (before < g.sink) this.#keepSinkKeys(layer);
      }
    }
    this.#position = after;
    if (full) this.recount();
  }

  /** Counts every layer's live rows again, from memory. */
  recount(): void {
    for (const [layer, rows] of this.memory.layers.entries()) {
      let count = 0;
      for (let row = 0; row < this.#geometry.ringRows; row++) if (this.#isLive(rows, { inRing: true, row })) count++;
      for (let row = 0; row < block; row++) if (this.#isLive(rows, { inRing: false, row })) count++;
      this.#rowCounts[layer] = count;
    }
  }

  /** Makes the newest row of the last layer look empty, as a stray write would; for tests of INV-1. */
  damage(): void {
    const last = this.memory.layers.at(-1);
    if (last) this.#erase(last, rowPlaceOf(this.#geometry, this.#position - 1, this.#position));
  }

  /**
   * Numbers and arrays that make the same slab elsewhere: the live rows by position, and the sinks' original keys. The last
   * `more` floats are left free for what else belongs to it: others wait while it is saved, and a second copy takes as long.
   */
  save(more = 0): { facts: SlabFacts; floats: Float32Array } {
    const floats = new Float32Array(this.#savedFloats(this.#position) + more);
    let at = 0;
    this.#eachSavedRow((part, head, place) => {
      floats.set(part.readRow(this.place, head, place), at);
      at += part.rowWords;
    });
    floats.set(this.#sinkKeys, at);
    return { facts: { position: this.#position, shift: this.#shift }, floats };
  }

  /** Fills this slab, which must be empty, with what `save` gave. @throws RangeError when the sizes don't fit. */
  load({ position, shift }: SlabFacts, floats: Float32Array): void {
    for (const [name, value] of Object.entries({ position, shift })) {
      if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`a slab's ${name} is not ${value}`);
    }
    const expected = this.#savedFloats(position);
    if (floats.length !== expected) {
      throw new RangeError(`a slab at position ${position} has ${expected} floats, not ${floats.length}`);
    }
    this.#position = position;
    this.#shift = shift;
    let at = 0;
    this.#eachSavedRow((part, head, place) => {
      part.writeRow(this.place, head, place, floats.subarray(at, at + part.rowWords));
      at += part.rowWords;
    });
    this.#sinkKeys.set(floats.subarray(at));
    this.recount();
  }

  #savedFloats(position: number): number {
    const { layers, kvHeads, headDim } = this.memory.shape;
    const live = liveRows(this.#geometry, position);
    const rowWords = this.memory.layers[0]?.key.rowWords ?? 0;
    return (2 * live * rowWords + this.#geometry.sink * headDim) * layers * kvHeads;
  }

  /** Names each live row, in a fixed order: by layer, keys before values, by head, by position. */
  #eachSavedRow(show: (part: Rows, head: number, place: RowPlace) => void): void {
    const places = livePositions(this.#geometry, this.#position).map((p) =>
      rowPlaceOf(this.#geometry, p, this.#position),
    );
    for (const { key, value } of this.memory.layers) {
      for (const part of [key, value]) {
        for (let head = 0; head < this.memory.shape.kvHeads; head++) {
          for (const place of places) show(part, head, place);
        }
      }
    }
  }

  #isLive({ key, value }: Layer, { inRing, row }: RowPlace): boolean {
    return inRing
      ? key.ringIsLive(this.place, row) && value.ringIsLive(this.place, row)
      : key.currentIsLive(this.place, row) && value.currentIsLive(this.place, row);
  }

  #erase({ key, value }: Layer, { inRing, row }: RowPlace): void {
    for (const part of [key, value]) {
      if (inRing) part.eraseInRing(this.place, row);
      else part.eraseInCurrent(this.place, row);
    }
  }

  #keepSinkKeys(layer: number): void {
    for (let head = 0; head < this.memory.shape.kvHeads; head++) {
      const sinks = this.memory.layers[layer]?.key.readSinks(this.place, head);
      if (sinks) this.#sinkKeysOf(layer, head).set(sinks);
    }
  }

  /** The original keys of one head's sinks, [sink, headDim]. */
  #sinkKeysOf(layer: number, head: number): Float32Array {
    const { kvHeads, headDim } = this.memory.shape;
    const perHead = this.#geometry.sink * headDim;
    const from = (layer * kvHeads + head) * perHead;
    return this.#sinkKeys.subarray(from, from + perHead);
  }
}

/** Where the row of position p is when `position` tokens are cached. */
function rowPlaceOf(g: Geometry, p: number, position: number): RowPlace {
  const start = blockStart(g, position);
  return p < start ? { inRing: true, row: ringRowOf(g, p) } : { inRing: false, row: p - start };
}

/** The positions that are cached when `position` tokens have been: the sinks and the window. */
function livePositions(g: Geometry, position: number): number[] {
  const positions: number[] = [];
  for (let p = 0; p < Math.min(g.sink, position); p++) positions.push(p);
  for (let p = oldestInWindow(g, position); p < position; p++) positions.push(p);
  return positions;
}
