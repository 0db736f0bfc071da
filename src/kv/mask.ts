import { blockStart, type Geometry, oldestInWindow, ringRowOf } from "./geometry.ts";

/**
 * Writes the additive attention mask of a chunk of `tokens` queries from position p: 0 where a query sees a row,
 * -Infinity elsewhere. `out` is [copies * tokens, ringRows + block]: the chunk's rows, `copies` times over (once for
 * each query head of the group); the ring's rows come first, then the current block's. Queries after position `last`
 * repeat it.
 */
export function writeMask(
  out: Float32Array,
  g: Geometry,
  p: number,
  tokens: number,
  copies: number,
  last = p + tokens - 1,
): void {
  const { rows, sink, ringRows } = g;
  const chunk = tokens * rows;
  const start = blockStart(g, p);
  out.fill(Number.NEGATIVE_INFINITY, 0, chunk);
  for (let t = 0; t < tokens; t++) {
    const at = t * rows;
    const query = Math.min(p + t, last);
    out.fill(0, at, at + Math.min(sink, start));
    const oldest = query < sink ? start : oldestInWindow(g, query);
    const inRing = Math.max(0, start - oldest);
    if (inRing > 0) {
      const first = ringRowOf(g, oldest);
      const unwrapped = Math.min(inRing, ringRows - first);
      out.fill(0, at + first, at + first + unwrapped);
      out.fill(0, at + sink, at + sink + inRing - unwrapped);
    }
    out.fill(0, at + ringRows + Math.max(0, oldest - start), at + ringRows + query - start + 1);
  }
  for (let copy = 1; copy < copies; copy++) out.copyWithin(copy * chunk, 0, chunk);
}
