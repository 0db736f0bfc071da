/** Reports as text for a terminal: the verdicts, then the figures, one column a run. */

import { oneLine } from "../cli/plain-text.ts";
import {
  agreement,
  earlierFigures,
  earlierHeading,
  type Figure,
  gateFigures,
  measuredFigures,
  whyEarlierMislead,
  worldFigures,
} from "./figures.ts";
import type { Recomputed } from "./recompute.ts";
import { gateNames } from "./report.ts";

const mostDifferences = 20;
const widestColumn = 60;

/** For one run or several; rows about which no run says anything are left out. */
export function textTable(runs: readonly Recomputed[]): string {
  const several = runs.length > 1;
  const head = several ? [["", ...runs.map((run) => oneLine(run.file))]] : [];
  const groups = [several ? gateFigures : [], measuredFigures, earlierFigures, worldFigures]
    .map((figures) => rows(figures, runs))
    .map((group) => (group.length > 0 ? [...head, ...group] : group));
  const labels = columnWidths(groups.flat())[0] ?? 0;
  const [verdicts, measured, earlier, world] = groups.map((group) => {
    const widths = [labels, ...columnWidths(group).slice(1)];
    return group.map((row) => line(row, widths)).join("\n");
  });
  const why = whyEarlierMislead.map((sentence) => `  ${sentence}`).join("\n");
  return [
    verdicts,
    ...runs.map((run) => reasons(run, several)),
    measured,
    earlier === "" ? "" : `${earlierHeading}:\n${why}\n${earlier}`,
    world,
  ]
    .filter((section) => section !== "")
    .join("\n\n");
}

function rows(figures: readonly Figure[], runs: readonly Recomputed[]): string[][] {
  return figures
    .map((figure) => [figure.label, ...runs.map((run) => oneLine(figure.text(run)))])
    .filter(([, ...texts]) => texts.some((text) => text !== "-"));
}

function columnWidths(table: readonly string[][]): number[] {
  const columns = Math.max(...table.map((row) => row.length));
  return Array.from({ length: columns }, (_, i) =>
    Math.min(widestColumn, Math.max(...table.map((row) => row[i]?.length ?? 0))),
  );
}

function line(row: readonly string[], widths: readonly number[]): string {
  return row
    .map((text, i) => text.padEnd(widths[i] ?? 0))
    .join("  ")
    .trimEnd();
}

/** Each gate's verdict and its reason, and where the file says something else. */
function reasons(run: Recomputed, named: boolean): string {
  const lines = gateNames.map((name) => {
    const { verdict, reason } = run.gates[name];
    return `${verdict.toUpperCase().padEnd(12)}  ${name}: ${reason}`;
  });
  const found = run.differences ?? [];
  const differences = found
    .slice(0, mostDifferences)
    .map(
      ({ field, in_file, recomputed }) => `  ${field}: ${shown(in_file)} in the file, ${shown(recomputed)} recomputed`,
    );
  const more = found.length > mostDifferences ? [`  and ${found.length - mostDifferences} more: see --json`] : [];
  const all = [...(named ? [run.file] : []), ...lines, agreement(run), ...differences, ...more];
  return all.map(oneLine).join("\n");
}

function shown(value: unknown): string {
  return JSON.stringify(value) ?? "nothing";
}
