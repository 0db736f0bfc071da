import type { Geometry } from "./geometry.ts";
import { IntegerRows } from "./integer-rows.ts";
import { FloatRows, type RowShape, type Rows } from "./rows.ts";
import { bytesPerToken, slabBytes } from "./slab-bytes.ts";

/** The rows of one layer. */
export interface Layer {
  readonly key: Rows;
  readonly value: Rows;
}

/** The rows of all slabs, allocated once; the slab at place i is the i-th part of each array. */
export class SlabMemory {
  constructor(
    readonly geometry: Geometry,
    readonly shape: RowShape,
    readonly capacity: number,
    readonly inverseFrequencies: Float64Array,
    readonly layers: readonly Layer[] = layersOf(geometry, shape, capacity),
  ) {}

  /** Live bytes of one cached token over all layers. */
  get bytesPerToken(): number {
    return bytesPerToken(this.shape);
  }

  /** Bytes of one slab, full or empty, with the sinks' original keys. */
  get slabBytes(): number {
    return slabBytes(this.geometry, this.shape);
  }

  /** Exchanges the rows at two places. */
  swap(a: number, b: number): void {
    for (const { key, value } of this.layers) {
      key.swap(a, b);
      value.swap(a, b);
    }
  }
}

function layersOf(geometry: Geometry, shape: RowShape, capacity: number): Layer[] {
  return Array.from({ length: shape.layers }, () => ({
    key: rowsOf(geometry, shape, capacity, true),
    value: rowsOf(geometry, shape, capacity, false),
  }));
}

function rowsOf(geometry: Geometry, shape: RowShape, capacity: number, areKeys: boolean): Rows {
  return shape.numbers === "int8"
    ? new IntegerRows(geometry, shape, capacity, areKeys)
    : new FloatRows(geometry, shape, capacity);
}
