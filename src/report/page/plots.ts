/** What the page draws: a run's series over time, thinned to what a screen can show. Pure. */

import type { Recomputed } from "../recompute.ts";
import type { OkTurn, Turn } from "../report.ts";
import { percentile } from "../stats.ts";

export interface Plot {
  title: string;
  unit: "seconds" | "bytes" | "tokens";
  /** Seconds since the run's start, one for each value of every series. */
  x: number[];
  series: { label: string; values: (number | null)[] }[];
  /** When turns failed, and when sessions after the first began, in seconds since the run's start. */
  failed_at: number[];
  sessions_at: number[];
}

/** The plots of one title, of all runs that have it: their first series on top of each other. */
export interface Overlay {
  title: string;
  unit: Plot["unit"];
  /** The place of each one's run, and its place among that run's plots. */
  of: { run: number; plot: number }[];
}

/** The plots by which several runs can be compared; one that only a single run has is left out. */
export function overlaysOf(runs: readonly (readonly Plot[])[]): Overlay[] {
  const all = runs.flatMap((plots, run) => plots.map(({ title, unit }, plot) => ({ title, unit, run, plot })));
  return [...Map.groupBy(all, ({ title }) => title)]
    .map(([title, [first, ...more]]) => ({ title, first, of: [first, ...more].filter((one) => one !== undefined) }))
    .filter(({ of }) => of.length > 1)
    .map(({ title, first, of }) => ({
      title,
      unit: first?.unit ?? "seconds",
      of: of.map(({ run, plot }) => ({ run, plot })),
    }));
}

/** More points than this are thinned: nobody's screen is wider. */
const mostPoints = 2000;
const mostMarks = 200;
/** Digits of a value that a plot can show, with room to read it off. */
const digits = 7;

interface Field {
  label: string;
  /** Whether thinning also keeps the highest of the neighbours, so that no outlier hides. */
  peaks?: boolean;
  of(turn: OkTurn): number | null | undefined;
}

/** The plots of a run; those about which the report says nothing are left out. */
export function plotsOf({ report, agg }: Recomputed): Plot[] {
  const turns: readonly Turn[] = report.turns;
  const ok: OkTurn[] = turns.filter((turn) => turn.ok);
  const medians = new Map(agg.buckets_10min.map((bucket) => [bucket.bucket_index, bucket.p50_latency_s]));
  const failedAt = turns.filter((turn) => !turn.ok).map((turn) => turn.t_relative_s);
  // The negative control opens a session every turn: marking each would only hide the curve.
  const isControl = report.schema_version === 2 && report.config.control !== "none";
  const sessionsAt = (isControl ? [] : ok)
    .filter((turn, i) => i > 0 && turn.session_index !== ok[i - 1]?.session_index)
    .map((turn) => turn.t_relative_s);
  const plot = (title: string, unit: Plot["unit"], ...fields: Field[]): Plot => ({
    title,
    unit,
    ...thinned(ok, fields),
    failed_at: failedAt.slice(0, mostMarks),
    sessions_at: sessionsAt.slice(0, mostMarks),
  });
  return [
    plot(
      "Latency of a turn",
      "seconds",
      { label: "latency", peaks: true, of: (turn) => turn.latency_s },
      { label: "10-minute median", of: (turn) => medians.get(Math.floor(turn.t_relative_s / 600)) },
    ),
    plot("Time to first token", "seconds", { label: "first token", peaks: true, of: (turn) => turn.ttft_s }),
    plot(
      "KV cache",
      "bytes",
      { label: "live", of: (turn) => turn.kv_live_bytes },
      { label: "slab", of: (turn) => turn.kv_slab_bytes },
    ),
    plot("Resident memory of the server", "bytes", {
      label: "resident",
      peaks: true,
      of: (turn) => turn.server_rss_bytes,
    }),
    plot("History", "tokens", { label: "history", of: (turn) => turn.history_length }),
  ]
    .map((plot) => ({ ...plot, series: plot.series.filter(({ values }) => values.some((value) => value !== null)) }))
    .filter((plot) => plot.series.length > 0);
}

/** Every turn is a point; of a long run, neighbours become one, their median, with their peak where it matters. */
function thinned(ok: readonly OkTurn[], fields: readonly Field[]): Pick<Plot, "x" | "series"> {
  const size = Math.ceil(ok.length / mostPoints);
  if (size <= 1) {
    return {
      x: ok.map((turn) => rounded(turn.t_relative_s)),
      series: fields.map(({ label, of }) => ({ label, values: ok.map((turn) => roundedOrNull(of(turn))) })),
    };
  }
  const groups = Array.from({ length: Math.ceil(ok.length / size) }, (_, i) => ok.slice(i * size, (i + 1) * size));
  return {
    x: groups.map((group) => rounded(group[0]?.t_relative_s ?? 0)),
    series: fields.flatMap(({ label, peaks, of }) => {
      const columns = groups.map((group) => group.map(of).filter((value) => typeof value === "number"));
      const series = (p: number) => columns.map((column) => roundedOrNull(percentile(column, p)));
      const median = { label: `${label}, median of ${size}`, values: series(0.5) };
      return peaks ? [median, { label: `${label}, highest of ${size}`, values: series(1) }] : [median];
    }),
  };
}

function roundedOrNull(value: number | null | undefined): number | null {
  return value === null || value === undefined ? null : rounded(value);
}

function rounded(value: number): number {
  return Number(value.toPrecision(digits));
}
