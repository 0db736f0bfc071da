import type { Geometry } from "./geometry.ts";
import type { RowShape } from "./rows.ts";

const floatBytes = Float32Array.BYTES_PER_ELEMENT;

/** Live bytes of one cached token: its key and its value in every layer. */
export function bytesPerToken({ layers, kvHeads, headDim, numbers }: RowShape): number {
  const rowBytes = numbers === "int8" ? headDim + floatBytes : headDim * floatBytes;
  return layers * kvHeads * rowBytes * 2;
}

/** Bytes of one slab, full or empty, with the sinks' original keys. */
export function slabBytes(geometry: Geometry, shape: RowShape): number {
  const sinkKeys = geometry.sink * shape.layers * shape.kvHeads * shape.headDim * floatBytes;
  return geometry.rows * bytesPerToken(shape) + sinkKeys;
}
