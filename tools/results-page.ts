/**
 * Writes results/README.md from the reports beside it: what the gates of each run say, what it measured, what it was.
 *
 *     bun tools/results-page.ts
 */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomically } from "../src/files/atomic-file.ts";
import { agreement, type Figure, gateFigures, measuredFigures, worldFigures } from "../src/report/figures.ts";
import { type Recomputed, recompute } from "../src/report/recompute.ts";
import { gateNames } from "../src/report/report.ts";
import { readReport } from "../src/report/report-file.ts";

export const resultsFolder = join(import.meta.dirname, "../results");

const introduction = `# Results

Reports of real runs, as \`kakeya bench\` wrote them: nothing in them was edited. This page is made from them by
\`bun tools/results-page.ts\`; every figure is recomputed from the turns, so \`kakeya aggregate results/FILE.json\`
gives the same ones, and \`--html page.html\` draws them. What was measured otherwise, of the engine and the server, is
in [measurements](measurements/README.md).

How to read it:

- A run is **one session** through the six built-in questions in rotation. Only the new message is appended each turn;
  the history grows, the cache does not.
- **latency** is append and generate together. Per-token times are the client's, over gRPC on the loopback.
- **KV bytes** are counted from the session's cache after each turn. The first turn or two hold less than the cache can.
- A **gate** passes, fails or is inconclusive; its reason is below. Counts must be exact; latency is a measurement, and
  inconclusive where the machine was too noisy to tell 10% of drift.
- A run whose **control** is \`reprefill\` is the negative control: it sends the whole history to a new session each
  turn, and its work and latency gates have to fail.
- \`kakeya-tiny-2h.json\` was made while the machine was also used for builds and measurements: its latency is the
  machine's, and the gate says so.
- \`gpu-swiftshader-60.json\` ran on a GPU in software, beside other work: its counts tell, its times don't.
- A model named \`random\` has a real model's shape and random weights: its times count, its words mean nothing.
`;

/** Rows that say too little, or too much, for a page. */
const leftOut = new Set(["schema", "fingerprint", "command"]);

/** The page of these runs, in their order. Pure. */
export function resultsPage(runs: readonly Recomputed[]): string {
  if (runs.length === 0) return `${introduction}\nThere is no report yet.\n`;
  const figures = [...gateFigures, ...measuredFigures, ...worldFigures].filter(({ label }) => !leftOut.has(label));
  const head = [row(["", ...runs.map(({ file }) => `[${file}](${file})`)]), row(["---", ...runs.map(() => "---")])];
  const rows = figures.map((figure) => figureRow(figure, runs)).filter((line) => line !== undefined);
  return `${[introduction, [...head, ...rows].join("\n"), ...runs.map(section)].join("\n")}\n`;
}

function figureRow({ label, text }: Figure, runs: readonly Recomputed[]): string | undefined {
  const texts = runs.map(text);
  return texts.every((cell) => cell === "-") ? undefined : row([label, ...texts]);
}

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |`;
}

/** How one run was started, and why its gates say what they say. */
function section(run: Recomputed): string {
  const command = run.report.schema_version === 2 ? run.report.world.command_line.join(" ") : "unknown";
  const gates = gateNames.map((name) => `- ${name}: **${run.gates[name].verdict}**. ${run.gates[name].reason}`);
  return ["", `## ${run.file}`, "", `\`${command}\``, "", ...gates, `- ${agreement(run)}`].join("\n");
}

/** The reports of a folder by name; those of a smoke are anybody's and stay out. */
export async function readResults(folder: string): Promise<Recomputed[]> {
  const names = readdirSync(folder).filter((name) => name.endsWith(".json") && !name.startsWith("smoke-"));
  const runs = [];
  for (const name of names.sort()) runs.push(recompute(name, await readReport(join(folder, name))));
  return runs;
}

if (import.meta.main) {
  writeFileAtomically(join(resultsFolder, "README.md"), resultsPage(await readResults(resultsFolder)));
}
