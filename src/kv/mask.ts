import { type Geometry, oldestInWindow, rowOf } from "./geometry.ts";

/**
 * Writes the additive attention mask of a chunk of `tokens` queries from position p: 0 where a query sees a row,
 * -Infinity elsewhere. `out` is [copies * tokens, rows]: the chunk's rows, `copies` times over (once a query head
 * of the group).
 */
export function writeMask(out: Float32Array, g: Geometry, p: number, tokens: number, copies: number): void {
  const { rows, sink, ringTokens } = g;
  const chunk = tokens * rows;
  out.fill(Number.NEGATIVE_INFINITY, 0, chunk);
  for (let t = 0; t < tokens; t++) {
    const at = t * rows;
    const query = p + t;
    out.fill(0, at, at + Math.min(sink, query + 1));
    if (query < sink) continue;
    const oldest = oldestInWindow(g, query);
    const count = query - oldest + 1;
    const first = rowOf(g, oldest);
    const unwrapped = Math.min(count, sink + ringTokens - first);
    out.fill(0, at + first, at + first + unwrapped);
    out.fill(0, at + sink, at + sink + count - unwrapped);
  }
  for (let copy = 1; copy < copies; copy++) out.copyWithin(copy * chunk, 0, chunk);
}
