/** What a run prints when it is over: the verdicts, the key figures, and where the report is. */

import { escaped, oneLine } from "../cli/plain-text.ts";
import { formatBytes, formatDuration } from "../cli/units.ts";
import { deviceOf, formatRate, formatSeconds } from "../report/figures.ts";
import { type AggTogether, gateNames, type ReportV2 } from "../report/report.ts";
import type { BenchOutcome } from "./bench.ts";

type Ended = Pick<BenchOutcome, "report" | "lastAnswer">;

/** Lines for a person. */
export function summaryText({ report, lastAnswer }: Ended, path: string): string {
  const lines = [...controlLine(report), ...gateLines(report), "", ...figures(report)];
  if (report.abort_reason !== null) lines.push("", `The run was ended by ${report.abort_reason} before its time.`);
  lines.push("", `last answer: ${lastAnswer || "none"}`, `report: ${path}`);
  return lines.map(oneLine).join("\n");
}

/** The same for a program. */
export function summaryJson({ report, lastAnswer }: Ended, path: string): string {
  const { abort_reason, agg, gates, partial, world } = report;
  const { device, adapter } = world;
  const facts = { report: path, partial, abort_reason, device, adapter, last_answer: lastAnswer, agg, gates };
  return escaped(JSON.stringify(facts, null, 2));
}

function controlLine({ config }: ReportV2): string[] {
  return config.control === "none" ? [] : [`control      ${config.control}: this run is meant to fail`];
}

function figures({ agg, world, restarts }: ReportV2): string[] {
  const rows: [string, string][] = [
    [
      "model",
      `${world.model_id} ${world.quantization}, ${world.sink}+${world.window} tokens cached${world.kv_format === "q8" ? " in 8 bits" : ""}`,
    ],
    ["device", deviceOf(world)],
    ["machine", `${world.cores} x ${world.cpu_model}, ${world.os}`],
    ["turns", `${agg.n_turns} in ${formatDuration(agg.duration_s ?? 0)}, ${agg.n_errors} failed`],
    [
      "history",
      `${agg.final_history_length ?? 0} tokens in ${agg.n_sessions} session${agg.n_sessions === 1 ? "" : "s"}`,
    ],
    ...(restarts ?? []).map(({ t_relative_s, down_s }): [string, string] => [
      "killed",
      `the server, at ${formatSeconds(t_relative_s)}; it answered again after ${formatSeconds(down_s)}`,
    ]),
    ...togetherRows(agg.together),
    ["latency", quantiles(agg.p50_latency_s, agg.p95_latency_s)],
    ["first token", quantiles(agg.p50_ttft_s, agg.p95_ttft_s)],
    ["per token", quantiles(agg.p50_tpot_s, agg.p95_tpot_s)],
    ["tokens/s", agg.p50_tpot_s === null ? "none" : `${formatRate(agg.p50_tpot_s)} in the median turn`],
    ["KV live", range(agg.min_kv_live_bytes, agg.max_kv_live_bytes)],
    ["server RSS", range(agg.min_server_rss_bytes, agg.max_server_rss_bytes)],
  ];
  return rows.map(([name, value]) => `${name.padEnd(12)} ${value}`);
}

function togetherRows(together: AggTogether | undefined): [string, string][] {
  if (together === undefined) return [];
  const { emitted_per_s, turns_per_s, p99_response_s, p99_ttft_s, n_servers, n_server_changes } = together;
  const rate = (perS: number | null, what: string) => `${perS === null ? "no" : perS.toPrecision(3)} ${what}/s`;
  const seconds = (value: number | null) => (value === null ? "none" : formatSeconds(value));
  const servers: [string, string][] =
    n_servers === null
      ? []
      : [["servers", `${n_servers}; ${n_server_changes} turns went to another than the one before`]];
  return [
    ["together", `${rate(emitted_per_s, "tokens")}, ${rate(turns_per_s, "turns")}`],
    ["p99", `${seconds(p99_response_s)} response, ${seconds(p99_ttft_s)} first token`],
    ...servers,
  ];
}

function gateLines({ gates }: ReportV2): string[] {
  return gateNames.map((name) => `${name.padEnd(12)} ${gates[name].verdict.toUpperCase()}: ${gates[name].reason}`);
}

function quantiles(p50: number | null, p95: number | null): string {
  return p50 === null || p95 === null ? "none" : `${formatSeconds(p50)} median, ${formatSeconds(p95)} p95`;
}

function range(min: number | null, max: number | null): string {
  if (min === null || max === null) return "not reported";
  return min === max ? formatBytes(max) : `${formatBytes(min)} to ${formatBytes(max)}`;
}
