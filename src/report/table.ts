/** Reports as text for a terminal: one column a run, then each gate's reason. */

import { agreement, type Figure, gateFigures, measuredFigures, worldFigures } from "./figures.ts";
import type { Recomputed } from "./recompute.ts";
import { gateNames } from "./report.ts";

const mostDifferences = 20;
const widestColumn = 60;

/** The table of one run or several; rows about which no run says anything are left out. */
export function textTable(runs: readonly Recomputed[]): string {
  const groups = [worldFigures, measuredFigures, gateFigures].map((figures) => rows(figures, runs));
  const head = runs.length > 1 ? [["", ...runs.map((run) => run.file)]] : [];
  const all = [head, ...groups].filter((group) => group.length > 0);
  const widths = columnWidths(all.flat());
  const table = all.map((group) => group.map((row) => line(row, widths)).join("\n")).join("\n\n");
  return [table, ...runs.map((run) => reasons(run, runs.length > 1))].join("\n\n");
}

function rows(figures: readonly Figure[], runs: readonly Recomputed[]): string[][] {
  return figures
    .map((figure) => [figure.label, ...runs.map((run) => oneLine(figure.text(run)))])
    .filter(([, ...texts]) => texts.some((text) => text !== "-"));
}

/** Report text goes to a terminal: no control character gets through. */
export function oneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is removed
  return text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, " ");
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

/** Why each gate says what it says, and where the file says otherwise. */
function reasons(run: Recomputed, named: boolean): string {
  const lines = gateNames.map((name) => {
    const { verdict, reason } = run.gates[name];
    return `${verdict.toUpperCase().padEnd(12)}  ${name}: ${oneLine(reason)}`;
  });
  const found = run.differences ?? [];
  const differences = found
    .slice(0, mostDifferences)
    .map(
      ({ field, in_file, recomputed }) => `  ${field}: ${shown(in_file)} in the file, ${shown(recomputed)} recomputed`,
    );
  const more = found.length > mostDifferences ? [`  and ${found.length - mostDifferences} more: see --json`] : [];
  return [...(named ? [run.file] : []), ...lines, agreement(run), ...differences, ...more].join("\n");
}

function shown(value: unknown): string {
  return oneLine(JSON.stringify(value) ?? "nothing");
}
