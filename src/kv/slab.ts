import { block, blockEnd, blockStart, type Geometry, oldestInWindow, ringRowOf, sinkShift } from "./geometry.ts";
import { rotateKeys, rotationBy } from "./rotary.ts";
import { type LayerRows, MarkedRows, type RowShape } from "./rows.ts";
import { bytesPerToken, slabBytes } from "./slab-bytes.ts";

/** One slab's share of what a step computed. */
export interface ChunkRows {
  /** By layer, [n, kvHeads, tokens, headDim]. */
  readonly keys: readonly Float32Array[];
  readonly values: readonly Float32Array[];
  readonly tokens: number;
  /** Which of the n is the slab's, and how many of its tokens belong to the history. */
  readonly index: number;
  readonly count: number;
}

/** What one session's slab holds, apart from its rows. */
export interface Slab {
  /** Tokens ever cached = position of the next one. */
  position: number;
  /** Live rows of each layer, as seen in memory when they were written and evicted. */
  readonly rowCounts: Int32Array;
  /** The sinks' keys as the model computed them, [layers, kvHeads, sink, headDim]. */
  readonly sinkKeys: Float32Array;
  /** By how much the sinks' keys in the ring are turned on. */
  shift: number;
}

/**
 * The memory of all slabs; the slab at place i is the i-th part of each array. Nothing is allocated after construction
 * but `Slab` records.
 */
export class SlabMemory {
  /** By layer. */
  readonly keys: readonly LayerRows[];
  readonly values: readonly LayerRows[];
  readonly #parts: readonly MarkedRows[];

  constructor(
    readonly geometry: Geometry,
    readonly shape: RowShape,
    readonly capacity: number,
    private readonly inverseFrequencies: Float64Array,
  ) {
    const layers = Array.from({ length: shape.layers }, () => ({
      key: new MarkedRows(geometry, shape, capacity),
      value: new MarkedRows(geometry, shape, capacity),
    }));
    this.keys = layers.map(({ key }) => key);
    this.values = layers.map(({ value }) => value);
    this.#parts = layers.flatMap(({ key, value }) => [key, value]);
  }

  /** Live bytes of one cached token over all layers. */
  get bytesPerToken(): number {
    return bytesPerToken(this.shape);
  }

  /** Bytes of one slab, whatever it holds; the sinks' original keys included. */
  get slabBytes(): number {
    return slabBytes(this.geometry, this.shape);
  }

  /** An empty slab at `place`; whatever was there is erased. */
  create(place: number): Slab {
    const { layers, kvHeads, headDim } = this.shape;
    for (const part of this.#parts) part.clear(place);
    return {
      position: 0,
      rowCounts: new Int32Array(layers),
      sinkKeys: new Float32Array(layers * kvHeads * this.geometry.sink * headDim),
      shift: 0,
    };
  }

  /** Before a chunk: turns the sinks to where they belong for the slab's next position. */
  prepare(slab: Slab, place: number): void {
    const shift = sinkShift(this.geometry, slab.position);
    if (shift === slab.shift) return;
    const { kvHeads, headDim } = this.shape;
    const perHead = this.geometry.sink * headDim;
    const rotation = rotationBy(shift, this.inverseFrequencies);
    for (let layer = 0; layer < this.shape.layers; layer++) {
      const keys = this.#part(layer, 0);
      // A turn writes over the mark of an erased row, and with it the evidence that a row was damaged.
      const erased = keys.emptySinks(place);
      for (let head = 0; head < kvHeads; head++) {
        const from = (layer * kvHeads + head) * perHead;
        const originals = slab.sinkKeys.subarray(from, from + perHead);
        rotateKeys(keys.sinks(place, head), originals, rotation);
      }
      for (const row of erased) keys.eraseInRing(place, row);
    }
    slab.shift = shift;
  }

  /**
   * After a step: writes the chunk's new rows and moves the slab's position on. Rows that leave the window are erased; a
   * block that became full moves into the ring. Rows are counted by looking at them.
   */
  commit(slab: Slab, place: number, rows: ChunkRows): void {
    const g = this.geometry;
    const before = slab.position;
    const after = before + rows.count;
    const row = before - blockStart(g, before);
    const full = after === blockEnd(g, before);
    for (let layer = 0; layer < this.shape.layers; layer++) {
      const key = this.#part(layer, 0);
      const value = this.#part(layer, 1);
      key.writeCurrent(place, row, rows.keys[layer], rows);
      value.writeCurrent(place, row, rows.values[layer], rows);
      let count = slab.rowCounts[layer] ?? 0;
      for (let i = row; i < row + rows.count; i++)
        if (key.currentIsLive(place, i) && value.currentIsLive(place, i)) count++;
      for (let p = oldestInWindow(g, before); p < oldestInWindow(g, after); p++) {
        if (this.#isLive(layer, place, p, before)) count--;
        this.#erase(layer, place, p, before);
      }
      slab.rowCounts[layer] = count;
      if (full) {
        key.moveToRing(place, ringRowOf(g, before - row), row + rows.count);
        value.moveToRing(place, ringRowOf(g, before - row), row + rows.count);
        if (before < g.sink) this.#keepSinkKeys(slab, place, layer);
      }
    }
    slab.position = after;
    if (full) this.recount(slab, place);
  }

  /** Counts every layer's live rows anew from the slab's memory. */
  recount(slab: Slab, place: number): void {
    for (let layer = 0; layer < this.shape.layers; layer++) {
      const key = this.#part(layer, 0);
      const value = this.#part(layer, 1);
      let count = 0;
      for (let row = 0; row < this.geometry.ringRows; row++) {
        if (key.ringIsLive(place, row) && value.ringIsLive(place, row)) count++;
      }
      for (let row = 0; row < block; row++) {
        if (key.currentIsLive(place, row) && value.currentIsLive(place, row)) count++;
      }
      slab.rowCounts[layer] = count;
    }
  }

  /** Exchanges the contents of two places. */
  swap(a: number, b: number): void {
    for (const part of this.#parts) part.swap(a, b);
  }

  /** Makes the newest row of the last layer look empty, as a stray write would; for tests of INV-1. */
  damage(slab: Slab, place: number): void {
    this.#erase(this.shape.layers - 1, place, slab.position - 1, slab.position);
  }

  #part(layer: number, keyOrValue: 0 | 1): MarkedRows {
    const part = this.#parts[2 * layer + keyOrValue];
    if (!part) throw new RangeError(`there is no layer ${layer}`);
    return part;
  }

  /** Whether position p's row is live, in a slab that holds `position` tokens. */
  #isLive(layer: number, place: number, p: number, position: number): boolean {
    const start = blockStart(this.geometry, position);
    return ([0, 1] as const).every((which) => {
      const part = this.#part(layer, which);
      return p < start ? part.ringIsLive(place, ringRowOf(this.geometry, p)) : part.currentIsLive(place, p - start);
    });
  }

  #erase(layer: number, place: number, p: number, position: number): void {
    const start = blockStart(this.geometry, position);
    for (const which of [0, 1] as const) {
      const part = this.#part(layer, which);
      if (p < start) part.eraseInRing(place, ringRowOf(this.geometry, p));
      else part.eraseInCurrent(place, p - start);
    }
  }

  #keepSinkKeys(slab: Slab, place: number, layer: number): void {
    const { kvHeads, headDim } = this.shape;
    const perHead = this.geometry.sink * headDim;
    for (let head = 0; head < kvHeads; head++) {
      slab.sinkKeys.set(this.#part(layer, 0).sinks(place, head), (layer * kvHeads + head) * perHead);
    }
  }
}
