import type { Geometry } from "./geometry.ts";
import type { RowShape } from "./rows.ts";

/** Live bytes of one cached token: its key and its value in every layer. */
export function bytesPerToken({ layers, kvHeads, headDim }: RowShape): number {
  return layers * kvHeads * headDim * Float32Array.BYTES_PER_ELEMENT * 2;
}

/** Bytes of one slab, whatever it holds; the sinks' original keys included. */
export function slabBytes(geometry: Geometry, shape: RowShape): number {
  const sinkKeys = geometry.sink * (bytesPerToken(shape) / 2);
  return geometry.rows * bytesPerToken(shape) + sinkKeys;
}
