import { block, type Geometry, oldestInWindow, rowOf, sinkShift } from "./geometry.ts";
import { rotateKeys } from "./rotary.ts";

/** Numbers that fix the size of a slab's row. */
export interface RowShape {
  layers: number;
  kvHeads: number;
  headDim: number;
}

/**
 * The first word of a row that holds no token, in the key and in the value: a float of about 4.6e-31, harmless where
 * the mask hides it and nothing that a projection ever gives. It lets the rows of a slab be counted from its memory.
 */
const emptyWord = 0x0d15ea5e;

/** What one session's slab holds, apart from its rows. */
export interface Slab {
  /** Tokens ever cached = position of the next one. */
  position: number;
  /** Live rows of each layer, as seen in memory when they were written and evicted. */
  readonly rowCounts: Int32Array;
  /** The sinks' keys as the model computed them, [layers, kvHeads, sink, headDim]. */
  readonly sinkKeys: Float32Array;
  /** By how much the sinks' keys in the slab are turned on. */
  shift: number;
}

/**
 * The memory of all slabs. Layer l's keys are keys[l], [capacity, kvHeads, rows, headDim] float32, and so are the
 * values; the slab at place i is the i-th part of each. Nothing is allocated after construction but `Slab` records.
 */
export class SlabMemory {
  readonly keys: Float32Array[];
  readonly values: Float32Array[];
  readonly #keyWords: Uint32Array[];
  readonly #valueWords: Uint32Array[];
  /** Elements of one slab in one layer's keys. */
  readonly slabElements: number;

  constructor(
    readonly geometry: Geometry,
    readonly shape: RowShape,
    readonly capacity: number,
    private readonly inverseFrequencies: Float64Array,
  ) {
    this.slabElements = shape.kvHeads * geometry.rows * shape.headDim;
    const allocate = () => Array.from({ length: shape.layers }, () => new Float32Array(capacity * this.slabElements));
    this.keys = allocate();
    this.values = allocate();
    this.#keyWords = this.keys.map((a) => new Uint32Array(a.buffer));
    this.#valueWords = this.values.map((a) => new Uint32Array(a.buffer));
  }

  /** Live bytes of one cached token over all layers. */
  get bytesPerToken(): number {
    return this.shape.layers * this.shape.kvHeads * this.shape.headDim * Float32Array.BYTES_PER_ELEMENT * 2;
  }

  /** Bytes of one slab, whatever it holds; the sinks' original keys included. */
  get slabBytes(): number {
    const { layers, kvHeads, headDim } = this.shape;
    const sinkKeys = layers * kvHeads * this.geometry.sink * headDim * Float32Array.BYTES_PER_ELEMENT;
    return this.geometry.rows * this.bytesPerToken + sinkKeys;
  }

  /** An empty slab at `place`; whatever was there is erased. */
  create(place: number): Slab {
    const { layers, kvHeads, headDim } = this.shape;
    const from = place * this.slabElements;
    for (let layer = 0; layer < layers; layer++) {
      this.keys[layer]?.fill(0, from, from + this.slabElements);
      this.values[layer]?.fill(0, from, from + this.slabElements);
      for (let row = 0; row < this.geometry.rows; row++) this.#erase(layer, place, row);
    }
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
    this.#eachSinkHead(place, (layer, originals, inSlab) => {
      const keys = this.keys[layer];
      if (!keys) return;
      // The turn below would overwrite an erased mark, and with it the evidence of a damaged row.
      const marks = this.#emptySinkRows(layer, place);
      rotateKeys(
        keys.subarray(inSlab, inSlab + originals.length),
        slab.sinkKeys.subarray(originals.from, originals.from + originals.length),
        shift,
        this.inverseFrequencies,
      );
      for (const row of marks) this.#erase(layer, place, row);
    });
    slab.shift = shift;
  }

  /**
   * After a chunk: takes note of the `tokens` rows that the step wrote from the slab's position on, keeps the sinks'
   * keys, erases what has left the window, and moves the position. Rows are counted by looking at them.
   */
  commit(slab: Slab, place: number, tokens: number): void {
    const g = this.geometry;
    const before = slab.position;
    const after = before + tokens;
    if (before < g.sink) {
      this.#eachSinkHead(place, (layer, originals, inSlab) => {
        const keys = this.keys[layer]?.subarray(inSlab, inSlab + originals.length);
        if (keys) slab.sinkKeys.set(keys, originals.from);
      });
    }
    for (let layer = 0; layer < this.shape.layers; layer++) {
      let count = slab.rowCounts[layer] ?? 0;
      for (let p = before; p < after; p++) if (this.#isLive(layer, place, rowOf(g, p))) count++;
      for (let p = oldestInWindow(g, before); p < oldestInWindow(g, after); p++) {
        const row = rowOf(g, p);
        if (this.#isLive(layer, place, row)) count--;
        this.#erase(layer, place, row);
      }
      slab.rowCounts[layer] = count;
    }
    slab.position = after;
    if (before % block === 0 || tokens > 1) this.recount(slab, place);
  }

  /** Counts every layer's live rows anew from the slab's memory. */
  recount(slab: Slab, place: number): void {
    for (let layer = 0; layer < this.shape.layers; layer++) {
      let count = 0;
      for (let row = 0; row < this.geometry.rows; row++) if (this.#isLive(layer, place, row)) count++;
      slab.rowCounts[layer] = count;
    }
  }

  /** Erases what a step wrote for a position that is not part of the history. */
  eraseFuture(place: number, position: number): void {
    const row = rowOf(this.geometry, position);
    for (let layer = 0; layer < this.shape.layers; layer++) this.#erase(layer, place, row);
  }

  /** Exchanges the contents of two places. */
  swap(a: number, b: number): void {
    const size = this.slabElements;
    for (const layer of [...this.keys, ...this.values]) {
      const held = layer.slice(a * size, (a + 1) * size);
      layer.copyWithin(a * size, b * size, (b + 1) * size);
      layer.set(held, b * size);
    }
  }

  /** Makes a live row of one layer look empty, as a stray write would; for tests of INV-1. */
  damage(slab: Slab, place: number): void {
    this.#erase(this.shape.layers - 1, place, rowOf(this.geometry, slab.position - 1));
  }

  #wordAt(place: number, row: number): number {
    return place * this.slabElements + row * this.shape.headDim;
  }

  #isLive(layer: number, place: number, row: number): boolean {
    const at = this.#wordAt(place, row);
    return this.#keyWords[layer]?.[at] !== emptyWord && this.#valueWords[layer]?.[at] !== emptyWord;
  }

  #erase(layer: number, place: number, row: number): void {
    const at = this.#wordAt(place, row);
    const keys = this.#keyWords[layer];
    const values = this.#valueWords[layer];
    if (keys) keys[at] = emptyWord;
    if (values) values[at] = emptyWord;
  }

  #emptySinkRows(layer: number, place: number): number[] {
    return Array.from({ length: this.geometry.sink }, (_, row) => row).filter(
      (row) => !this.#isLive(layer, place, row),
    );
  }

  /** Visits the sinks of each layer and head: where their originals lie, and where in the layer's keys they are. */
  #eachSinkHead(
    place: number,
    visit: (layer: number, originals: { from: number; length: number }, inSlab: number) => void,
  ): void {
    const { layers, kvHeads, headDim } = this.shape;
    const length = this.geometry.sink * headDim;
    for (let layer = 0; layer < layers; layer++) {
      for (let head = 0; head < kvHeads; head++) {
        const inSlab = place * this.slabElements + head * this.geometry.rows * headDim;
        visit(layer, { from: (layer * kvHeads + head) * length, length }, inSlab);
      }
    }
  }
}
