/** Reports as one self-contained page: verdicts, plots, figures and the world of each run, in this order. Pure. */

import uplotJs from "uplot/dist/uPlot.iife.min.js" with { type: "text" };
import uplotCss from "uplot/dist/uPlot.min.css" with { type: "text" };
import { oneLine } from "../cli/plain-text.ts";
import { contradictions } from "./contradiction.ts";
import {
  agreement,
  earlierFigures,
  earlierHeading,
  type Figure,
  formatSeconds,
  measuredFigures,
  whyEarlierMislead,
  worldFigures,
} from "./figures.ts";
import drawJs from "./page/draw.js" with { type: "text" };
import pageCss from "./page/page.css" with { type: "text" };
import { type Overlay, overlaysOf, type Plot, plotsOf } from "./page/plots.ts";
import type { Recomputed } from "./recompute.ts";
import { gateNames, pageGenerator } from "./report.ts";

/**
 * Text from a report, shown as text: it can bring neither markup nor characters that change how the rest of the page
 * reads.
 */
const escaped = (text: string) => Bun.escapeHTML(oneLine(text));

/** The same runs give the same bytes. Nothing is loaded from elsewhere, and the page's policy forbids it. */
export function htmlPage(runs: readonly Recomputed[]): string {
  const plots = runs.map(plotsOf);
  const names = runs.map((run) => oneLine(run.file));
  const overlays = runs.length > 1 ? overlaysOf(plots) : [];
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
${contradictions(runs)
  .map((line) => `<p><strong>${escaped(line)}</strong></p>`)
  .join("\n")}
<p class="quiet">Every figure is recomputed from the turns of the report${runs.length === 1 ? "" : "s"}.</p>
<noscript><p>The plots need JavaScript; the figures don't.</p></noscript>
${runs.length > 1 ? comparison(runs, overlays) : ""}
${runs.map((run, i) => section(run, i, plots[i] ?? [], runs.length > 1)).join("\n")}
${facts(runs)}
<script type="application/json" id="plots">${JSON.stringify({ names, runs: plots, overlays }).replaceAll("<", "\\u003c")}</script>
<script>${uplotJs}</script>
<script>${drawJs}</script>
</body>
</html>
`;
}

/** The verdicts of several runs side by side, and their curves over each other. */
function comparison(runs: readonly Recomputed[], overlays: readonly Overlay[]): string {
  const head = ["run", ...gateNames, "own figures"].map((text) => `<th scope="col">${text}</th>`).join("");
  const rows = runs.map((run, i) => {
    const verdicts = gateNames.map((name) => run.gates[name].verdict);
    const cells = verdicts.map((verdict) => `<td class="${verdict}"><span class="verdict">${verdict}</span></td>`);
    const own = run.differences === null ? "none" : run.differences.length === 0 ? "agree" : "differ";
    return `<tr><th scope="row"><a href="#run-${i}">${escaped(run.file)}</a></th>${cells.join("")}<td>${own}</td></tr>`;
  });
  return `<div class="scroll"><table class="figures verdicts"><tr>${head}</tr>${rows.join("")}</table></div>
<p class="quiet">Each curve goes from its run's start to its end, whatever that took.</p>
<div class="plots">${overlays.map((overlay, i) => figure(overlay.title, `data-overlay="${i}"`)).join("")}</div>`;
}

function section(run: Recomputed, index: number, plots: readonly Plot[], named: boolean): string {
  const { report } = run;
  const control = report.schema_version === 2 && report.config.control !== "none";
  return `<section id="run-${index}">
${named ? `<h2>${escaped(run.file)}</h2>` : ""}
${control ? `<p><strong>A negative control (${escaped(report.config.control)}): its work and latency gates must fail.</strong></p>` : ""}
<ul class="gates">${gateNames.map((name) => gateCard(name, run)).join("")}</ul>
<p>${escaped(agreement(run))}</p>
${differencesTable(run)}
<div class="plots">${plots.map((plot, i) => figure(plot.title, `data-run="${index}" data-plot="${i}"`, plot)).join("")}</div>
${bucketsTable(run)}
</section>`;
}

/** Every figure of every run, a column each. */
function facts(runs: readonly Recomputed[]): string {
  const earlier = `<p class="quiet">${whyEarlierMislead.join(" ")}</p>${figuresTable(earlierFigures, runs)}`;
  return `<section class="${runs.length > 1 ? "" : "facts"}">
<div><h3>Figures</h3>${figuresTable(measuredFigures, runs)}<h3>${earlierHeading}</h3>${earlier}</div>
<div><h3>The world of ${runs.length > 1 ? "these runs" : "this run"}</h3>${figuresTable(worldFigures, runs)}</div>
</section>`;
}

function gateCard(name: (typeof gateNames)[number], { gates }: Recomputed): string {
  const { verdict, reason, numbers } = gates[name];
  const rows = Object.entries(numbers).map(([key, value]) => [key, value === null ? "-" : String(value)]);
  return `<li class="${verdict}"><h3>${name}: <span class="verdict">${verdict}</span></h3><p>${escaped(reason)}</p><details><summary>numbers</summary>${table(rows)}</details></li>`;
}

/** @param source attributes that tell the script what to draw */
function figure(title: string, source: string, marked?: Plot): string {
  const marks = [
    marked && marked.failed_at.length > 0 ? "a red line is a failed turn" : "",
    marked && marked.sessions_at.length > 0 ? "a dashed line is a new session" : "",
  ].filter((mark) => mark !== "");
  const note = marks.length > 0 ? `<p class="quiet">${marks.join(", ")}</p>` : "";
  return `<figure><h3>${escaped(title)}</h3><div class="plot" role="img" aria-label="${escaped(`${title} over time`)}" ${source}></div>${note}</figure>`;
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
