/** What a report says, in words: the figures that the text table and the page show, one run a column. */

import { formatBytes, formatDuration } from "../cli/units.ts";
import type { Recomputed } from "./recompute.ts";
import { gateNames, type Report, type World } from "./report.ts";

export interface Figure {
  label: string;
  /** "-" where the report has no such figure. */
  text(run: Recomputed): string;
}

const none = "-";

/** What the numbers depend on. */
export const worldFigures: readonly Figure[] = [
  { label: "schema", text: ({ report }) => String(report.schema_version) },
  { label: "kakeya", text: (run) => world(run, (w) => (w.commit ? `${w.version} (${w.commit})` : w.version)) },
  { label: "model", text: ({ report }) => modelOf(report) },
  { label: "fingerprint", text: (run) => world(run, (w) => w.model_fingerprint.slice(0, 16)) },
  { label: "architecture", text: (run) => world(run, (w) => w.architecture) },
  { label: "quantization", text: (run) => world(run, (w) => w.quantization) },
  { label: "cache", text: (run) => world(run, (w) => `${w.sink} sinks + ${w.window} window, blocks of ${w.block}`) },
  { label: "bytes a token", text: (run) => world(run, (w) => `${w.kv_bytes_per_token}`) },
  { label: "bit-exact", text: (run) => world(run, (w) => (w.exact ? "yes" : "no")) },
  { label: "device", text: (run) => world(run, deviceOf) },
  { label: "machine", text: (run) => world(run, (w) => `${w.cores} x ${w.cpu_model}`) },
  { label: "machine memory", text: (run) => world(run, (w) => formatBytes(w.memory_total_bytes)) },
  { label: "system", text: (run) => world(run, (w) => w.os) },
  { label: "load at start", text: (run) => world(run, (w) => loads(w.load_average_start)) },
  { label: "load at end", text: (run) => world(run, (w) => loads(w.load_average_end)) },
  { label: "server", text: ({ report }) => serverOf(report) },
  { label: "workload", text: ({ report }) => workloadOf(report) },
  {
    label: "warm-up turns",
    text: ({ report }) => (report.schema_version === 2 ? `${report.config.warm_up_turns}` : none),
  },
  { label: "control", text: ({ report }) => (report.schema_version === 2 ? report.config.control : none) },
  { label: "command", text: (run) => world(run, (w) => w.command_line.join(" ")) },
];

/** What was measured. */
export const measuredFigures: readonly Figure[] = [
  { label: "started", text: ({ report }) => time(report.started_at) },
  { label: "duration", text: ({ report }) => maybe(report.duration_s, (s) => formatDuration(Math.round(s))) },
  { label: "ended", text: ({ report }) => ending(report) },
  { label: "turn spacing", text: ({ report }) => maybe(report.config?.turn_spacing_s, (s) => formatDuration(s)) },
  { label: "turns", text: ({ agg }) => String(agg.n_turns) },
  { label: "failed turns", text: ({ agg }) => String(agg.n_errors) },
  { label: "sessions", text: ({ agg }) => maybe(agg.n_sessions, String) },
  { label: "tokens emitted", text: ({ agg }) => maybe(agg.n_emitted_total, String) },
  { label: "history at end", text: ({ agg }) => maybe(agg.final_history_length, (n) => `${n} tokens`) },
  { label: "latency p50", text: ({ agg }) => maybe(agg.p50_latency_s, formatSeconds) },
  { label: "latency p95", text: ({ agg }) => maybe(agg.p95_latency_s, formatSeconds) },
  { label: "response p95", text: ({ agg }) => maybe(agg.p95_response_s, formatSeconds) },
  { label: "response max", text: ({ agg }) => maybe(agg.max_response_s, formatSeconds) },
  { label: "first token p50", text: ({ agg }) => maybe(agg.p50_ttft_s, formatSeconds) },
  { label: "first token p95", text: ({ agg }) => maybe(agg.p95_ttft_s, formatSeconds) },
  { label: "per token p50", text: ({ agg }) => maybe(agg.p50_tpot_s, formatSeconds) },
  { label: "per token p95", text: ({ agg }) => maybe(agg.p95_tpot_s, formatSeconds) },
  { label: "tokens a second", text: ({ agg }) => maybe(agg.p50_tpot_s, formatRate) },
  { label: "longest gap", text: ({ agg }) => maybe(agg.max_itl_s, formatSeconds) },
  { label: "KV bytes", text: ({ agg }) => range(agg.min_kv_live_bytes, agg.max_kv_live_bytes, formatBytes) },
  {
    label: "resident memory",
    text: ({ agg }) => range(agg.min_server_rss_bytes, agg.max_server_rss_bytes, formatBytes),
  },
];

/** Schema 1's own verdicts, kept so that reports of earlier runtimes can be compared. */
export const earlierFigures: readonly Figure[] = [
  { label: "kv_bounded", text: ({ agg }) => maybe(agg.kv_bounded, String) },
  { label: "prefill_bounded", text: ({ agg }) => maybe(agg.prefill_bounded, String) },
  { label: "latency_drift_p50_s", text: ({ agg }) => maybe(agg.latency_drift_p50_s, formatSeconds) },
];

export const earlierHeading = "as earlier runtimes judged it";

/** A sentence each. */
export const whyEarlierMislead: readonly string[] = [
  "These mislead, and decide nothing here; the gates do.",
  "kv_bounded asks whether live bytes varied by less than 10%: false for a cache that fills up and then stays, true for bytes that nobody counted.",
  "prefill_bounded asks whether the last five turns took at most 5 s longer than the first five (latency_drift_p50_s): true also for a runtime that computes the whole history again each turn, as long as that takes less.",
];

/** What it proves. */
export const gateFigures: readonly Figure[] = gateNames.map((name) => ({
  label: name,
  text: ({ gates }) => gates[name].verdict,
}));

/** `1.829 s`, `12.3 ms`: four significant digits. */
export function formatSeconds(s: number): string {
  return Math.abs(s) >= 1 ? `${Number(s.toPrecision(4))} s` : `${Number((s * 1000).toPrecision(4))} ms`;
}

/** Tokens a second at so many seconds a token: `546.4`, four significant digits. */
export function formatRate(secondsPerToken: number): string {
  return secondsPerToken > 0 ? `${Number((1 / secondsPerToken).toPrecision(4))}` : none;
}

/** What ran the model: `cpu`, or `gpu (NVIDIA GeForce RTX 4090, Vulkan, NVIDIA 550.120)`. */
export function deviceOf({ device = "cpu", adapter }: World): string {
  return adapter ? `${device} (${adapter})` : device;
}

/** Whether a run's own figures agree with its turns, in a sentence. */
export function agreement({ differences }: Recomputed): string {
  if (differences === null) return "the file has no figures of its own to compare with";
  if (differences.length === 0) return "the file's own figures are the same to the last digit";
  return `the file's own figures differ in ${differences.length} place${differences.length === 1 ? "" : "s"}`;
}

/** A run that only has a name; or the model's name where the report says more. */
function modelOf(report: Report): string {
  return report.schema_version === 2 ? report.world.model_id : (report.config?.tokenizer_id ?? none);
}

function world({ report }: Recomputed, text: (w: Extract<Report, { schema_version: 2 }>["world"]) => string): string {
  return report.schema_version === 2 ? text(report.world) : none;
}

function serverOf(report: Report): string {
  const address = report.config?.grpc_address ?? none;
  return report.schema_version === 2 && report.config.own_server ? `${address}, started by the bench` : address;
}

function workloadOf(report: Report): string {
  if (report.schema_version === 1) return none;
  const { workload, workload_messages, template, max_tokens } = report.config;
  return `${workload}, ${workload_messages} messages, ${template}, up to ${max_tokens} tokens a turn`;
}

function ending(report: Report): string {
  if (report.abort_reason) return `early: ${report.abort_reason}`;
  return report.partial ? "partial" : "as planned";
}

function time(unixS: number | undefined): string {
  return maybe(unixS, (s) => new Date(s * 1000).toISOString().replace(/\.\d+Z$/, "Z"));
}

function loads(average: readonly number[]): string {
  return average.map((load) => load.toFixed(2)).join(" ");
}

function range(min: number | null | undefined, max: number | null | undefined, text: (n: number) => string): string {
  const [low, high] = [maybe(min, text), maybe(max, text)];
  return low === high ? low : `${low} to ${high}`;
}

function maybe<T>(value: T | null | undefined, text: (value: T) => string): string {
  return value === null || value === undefined ? none : text(value);
}
