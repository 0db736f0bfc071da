/** How verdicts combine, and what counts as a number that was reported. */

import type { Verdict } from "./report.ts";

/** A failure outweighs a doubt, and a doubt outweighs a pass. */
export function worst(verdicts: readonly Verdict[]): Verdict {
  if (verdicts.includes("fail")) return "fail";
  return verdicts.includes("inconclusive") ? "inconclusive" : "pass";
}

/** False for what a report leaves out or gives as null. */
export function isCount(value: number | null | undefined): value is number {
  return typeof value === "number";
}
