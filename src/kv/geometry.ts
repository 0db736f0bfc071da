/** Tokens between two rotations of the sinks, and the longest chunk of one step. */
export const block = 32;

/**
 * Where a session's tokens lie in its cache: `sink` rows that never leave, then a ring.
 *
 * The ring has room for the window, rounded up to blocks, and one block more: a chunk of up to `block` new tokens then
 * only overwrites rows that no query of the chunk sees, so a step writes into the ring before it reads from it.
 */
export interface Geometry {
  readonly sink: number;
  readonly window: number;
  /** ceil(window / block) * block + block. */
  readonly ringTokens: number;
  /** Rows of a slab: sink + ringTokens. */
  readonly rows: number;
}

/** @throws RangeError when sink is negative, window is below 1, or either is no integer. */
export function geometry(sink: number, window: number): Geometry {
  if (!Number.isSafeInteger(sink) || sink < 0)
    throw new RangeError(`sink must be an integer of 0 or more, not ${sink}`);
  if (!Number.isSafeInteger(window) || window < 1) {
    throw new RangeError(`window must be an integer of 1 or more, not ${window}`);
  }
  const ringTokens = Math.ceil(window / block) * block + block;
  return { sink, window, ringTokens, rows: sink + ringTokens };
}

/** The row of position p's key and value. */
export function rowOf(g: Geometry, p: number): number {
  return p < g.sink ? p : g.sink + ((p - g.sink) % g.ringTokens);
}

/** The position of the oldest window token still cached when `position` tokens have been. */
export function oldestInWindow(g: Geometry, position: number): number {
  return Math.max(g.sink, position - g.window);
}

/** Live rows when `position` tokens have been cached. */
export function liveRows(g: Geometry, position: number): number {
  return Math.min(position, g.sink + g.window);
}

/** How far the sinks have moved for a query at p: sink i then sits at position i + shift. */
export function sinkShift(g: Geometry, p: number): number {
  return p < g.sink ? 0 : Math.max(0, Math.floor((p - g.sink) / block) * block - g.window);
}

/** How many of `wanted` tokens one step may take from position p: chunks never cross a block, [0, sink) being one. */
export function chunkLength(g: Geometry, p: number, wanted: number): number {
  const toBlockEnd = p < g.sink ? g.sink - p : block - ((p - g.sink) % block);
  return Math.min(wanted, toBlockEnd, block);
}
