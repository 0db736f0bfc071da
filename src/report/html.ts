/** Reports as one self-contained page: figures, gates, plots and the world of each run. Pure. */

import uplotJs from "uplot/dist/uPlot.iife.min.js" with { type: "text" };
import uplotCss from "uplot/dist/uPlot.min.css" with { type: "text" };
import { agreement, type Figure, formatSeconds, gateFigures, measuredFigures, worldFigures } from "./figures.ts";
import drawJs from "./page/draw.js" with { type: "text" };
import pageCss from "./page/page.css" with { type: "text" };
import { type Plot, plotsOf } from "./page/plots.ts";
import type { Recomputed } from "./recompute.ts";
import { gateNames, pageGenerator } from "./report.ts";

const escaped = Bun.escapeHTML;

/** The same runs give the same bytes. Nothing is loaded from elsewhere, and the page's policy forbids it. */
export function htmlPage(runs: readonly Recomputed[]): string {
  const plots = runs.map(plotsOf);
  const title = runs.length === 1 ? `kakeya bench: ${runs[0]?.file}` : `kakeya bench: ${runs.length} runs`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="generator" content="${pageGenerator}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<title>${escaped(title)}</title>
<style>${uplotCss}
${pageCss}</style>
</head>
<body>
<h1>${escaped(title)}</h1>
<p class="quiet">Every figure is recomputed from the turns of the report${runs.length === 1 ? "" : "s"}.</p>
<noscript><p>The plots need JavaScript; the figures don't.</p></noscript>
${runs.length > 1 ? figuresTable([...worldFigures, ...measuredFigures, ...gateFigures], runs) : ""}
${runs.map((run, i) => section(run, i, plots[i] ?? [], runs.length > 1)).join("\n")}
<script type="application/json" id="plots">${JSON.stringify(plots).replaceAll("<", "\\u003c")}</script>
<script>${uplotJs}</script>
<script>${drawJs}</script>
</body>
</html>
`;
}

function section(run: Recomputed, index: number, plots: readonly Plot[], named: boolean): string {
  const { report } = run;
  const control = report.schema_version === 2 && report.config.control !== "none";
  return `<section>
${named ? `<h2>${escaped(run.file)}</h2>` : ""}
${control ? `<p><strong>A negative control (${escaped(report.config.control)}): its work and latency gates must fail.</strong></p>` : ""}
<ul class="gates">${gateNames.map((name) => gateCard(name, run)).join("")}</ul>
<p>${escaped(agreement(run))}</p>
${differencesTable(run)}
<div class="plots">${plots.map((plot, i) => figure(plot, index, i)).join("")}</div>
<div class="facts">
<div><h3>Figures</h3>${figuresTable(measuredFigures, [run])}</div>
<div><h3>The world of this run</h3>${figuresTable(worldFigures, [run])}</div>
</div>
${bucketsTable(run)}
</section>`;
}

function gateCard(name: (typeof gateNames)[number], { gates }: Recomputed): string {
  const { verdict, reason, numbers } = gates[name];
  const rows = Object.entries(numbers).map(([key, value]) => [key, value === null ? "-" : String(value)]);
  return `<li class="${verdict}"><h3>${name}: <span class="verdict">${verdict}</span></h3><p>${escaped(reason)}</p><details><summary>numbers</summary>${table(rows)}</details></li>`;
}

function figure(plot: Plot, run: number, index: number): string {
  const marks = [
    plot.failed_at.length > 0 ? "a red line is a failed turn" : "",
    plot.sessions_at.length > 0 ? "a dashed line is a new session" : "",
  ].filter((mark) => mark !== "");
  const note = marks.length > 0 ? `<p class="quiet">${marks.join(", ")}</p>` : "";
  return `<figure><h3>${escaped(plot.title)}</h3><div class="plot" role="img" aria-label="${escaped(`${plot.title} over time`)}" data-run="${run}" data-plot="${index}"></div>${note}</figure>`;
}

function figuresTable(figures: readonly Figure[], runs: readonly Recomputed[]): string {
  const rows = figures
    .map((figure) => [figure.label, ...runs.map((run) => figure.text(run))])
    .filter(([, ...texts]) => texts.some((text) => text !== "-"));
  return table(runs.length > 1 ? [["", ...runs.map((run) => run.file)], ...rows] : rows);
}

function differencesTable({ differences }: Recomputed): string {
  const rows = (differences ?? []).map(({ field, in_file, recomputed }) => [
    field,
    JSON.stringify(in_file),
    JSON.stringify(recomputed),
  ]);
  return rows.length > 0 ? table([["field", "in the file", "recomputed"], ...rows]) : "";
}

function bucketsTable({ agg }: Recomputed): string {
  const rows = agg.buckets_10min.map((bucket) => [
    `${bucket.bucket_index * 10} min`,
    String(bucket.n_turns),
    formatSeconds(bucket.p50_latency_s),
    formatSeconds(bucket.p95_latency_s),
    bucket.mean_kv_live_bytes === null ? "-" : String(bucket.mean_kv_live_bytes),
  ]);
  const head = ["from", "turns", "latency p50", "latency p95", "mean KV bytes"];
  return `<details><summary>10-minute buckets</summary>${table([head, ...rows])}</details>`;
}

/** Rows of cells; the first cell of each is its heading. */
function table(rows: readonly string[][]): string {
  const body = rows.map(
    ([head = "", ...cells]) =>
      `<tr><th scope="row">${escaped(head)}</th>${cells.map((cell) => `<td>${escaped(cell)}</td>`).join("")}</tr>`,
  );
  return `<div class="scroll"><table class="figures">${body.join("")}</table></div>`;
}
