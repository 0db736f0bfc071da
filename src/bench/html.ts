import type { Recomputed } from "./recompute.ts";
export function htmlPage(runs: readonly Recomputed[]): string {
  return String(runs.length);
}
