/** Tokens between two rotations of the sinks, rows of the current block, and the longest chunk of one step. */
export const block = 32;

/**
 * Where a session's tokens lie in its slab. The sinks and the window's full blocks are in the ring: `sink` rows that
 * never leave and `ringTokens` that are overwritten in turn. The block that is being filled is kept apart, in the
 * current block. So a step only reads the ring, and the part of the slab that holds a key depends on the query's
 * position alone, however the history was cut into steps.
 */
export interface Geometry {
  readonly sink: number;
  readonly window: number;
  /** ceil(window / block) * block. */
  readonly ringTokens: number;
  /** Rows of the ring: sink + ringTokens. */
  readonly ringRows: number;
  /** Rows of a slab: the ring and the current block. */
  readonly rows: number;
}

/** @throws RangeError when sink is negative, window is below 1, or one of them is not an integer. */
export function geometry(sink: number, window: number): Geometry {
  if (!Number.isSafeInteger(sink) || sink < 0)
    throw new RangeError(`sink must be an integer of 0 or more, not ${sink}`);
  if (!Number.isSafeInteger(window) || window < 1) {
    throw new RangeError(`window must be an integer of 1 or more, not ${window}`);
  }
  const ringTokens = Math.ceil(window / block) * block;
  const ringRows = sink + ringTokens;
  return { sink, window, ringTokens, ringRows, rows: ringRows + block };
}

/** The first position of p's block. A new block starts after the sinks, and no block holds more than `block` tokens. */
export function blockStart(g: Geometry, p: number): number {
  return p < g.sink ? p - (p % block) : p - ((p - g.sink) % block);
}

/** The position after p's block. */
export function blockEnd(g: Geometry, p: number): number {
  const end = blockStart(g, p) + block;
  return p < g.sink ? Math.min(end, g.sink) : end;
}

/** The ring's row of position p once its block is full. */
export function ringRowOf(g: Geometry, p: number): number {
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

/** How many of `wanted` tokens one step may take from position p: a chunk never crosses a block. */
export function chunkLength(g: Geometry, p: number, wanted: number): number {
  return Math.min(wanted, blockEnd(g, p) - p);
}
