/** A report with everything recomputed, and where the file itself says otherwise. Pure. */

import { escaped } from "../cli/plain-text.ts";
import { aggregate } from "./aggregate.ts";
import { judgeReport } from "./gates.ts";
import type { AggV1, AggV2, Gates, Report } from "./report.ts";

export interface Recomputed {
  /** The name it is shown under: its path. */
  file: string;
  report: Report;
  agg: AggV1 & Partial<AggV2>;
  gates: Gates;
  /** Empty when the file's own figures are all as recomputed; null when it has none. */
  differences: Difference[] | null;
}

/** One figure that differs between the file and its turns. */
export interface Difference {
  /** For example "agg.buckets_10min[3].p95_latency_s". */
  field: string;
  in_file: unknown;
  recomputed: unknown;
}

export function recompute(file: string, report: Report): Recomputed {
  const agg = aggregate(report);
  const gates = judgeReport(report);
  const differences: Difference[] = [];
  if (report.agg) differ("agg", report.agg, agg, differences);
  if (report.schema_version === 2) differ("gates", report.gates, gates, differences);
  return { file, report, agg, gates, differences: report.agg ? differences : null };
}

/** For programs: every figure, with the field names of the report. */
export function jsonText(runs: readonly Recomputed[]): string {
  const shown = runs.map(({ file, report, agg, gates, differences }) => ({
    file,
    schema_version: report.schema_version,
    partial: report.partial ?? null,
    abort_reason: report.abort_reason ?? null,
    agg,
    gates,
    differences,
  }));
  return escaped(JSON.stringify({ reports: shown }, null, 2));
}

/**
 * Walks two JSON values side by side; figures must agree to the last digit. A gate's reason says its numbers in words,
 * and another version may choose other words.
 */
function differ(field: string, inFile: unknown, recomputed: unknown, found: Difference[]): void {
  if (isTree(inFile) && isTree(recomputed)) {
    const inArray = Array.isArray(recomputed);
    for (const key of new Set([...Object.keys(inFile), ...Object.keys(recomputed)])) {
      if (key === "reason") continue;
      differ(inArray ? `${field}[${key}]` : `${field}.${key}`, inFile[key], recomputed[key], found);
    }
  } else if (inFile !== recomputed) {
    found.push({ field, in_file: inFile ?? null, recomputed: recomputed ?? null });
  }
}

function isTree(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
