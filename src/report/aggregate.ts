/** Every figure of a report, recomputed from its turns. Pure. */

import { columnOf } from "./column.ts";
import type { AggTogether, AggV1, AggV2, Bucket, OkTurnV1, OkTurnV2, Report, Turn, TurnV2 } from "./report.ts";
import { mean, percentile, percentileOfSorted } from "./stats.ts";

const bucketS = 600;
const kvBoundedBelow = 0.1;
const prefillBoundedS = 5;
/** Turns at each end of the run that its drift compares. */
const driftTurns = 5;

/** The aggregate in the shape of the report's own schema version. */
export function aggregate(report: Report): AggV1 | AggV2 {
  return report.schema_version === 1
    ? aggregateV1(report.turns, report.duration_s ?? null)
    : aggregateV2(report.turns, report.duration_s, report.config.sessions);
}

/** Schema 1's figures, of turns of either version. */
export function aggregateV1(turns: readonly Turn[], durationS: number | null): AggV1 {
  const ok = turns.filter((turn) => turn.ok);
  const latency = spread(ok, latencyOf);
  const kv = spread(ok, (turn) => turn.kv_live_bytes);
  const driftS = latencyDrift(ok);
  return {
    n_turns: ok.length,
    n_errors: turns.length - ok.length,
    duration_s: durationS,
    p50_latency_s: latency.p50,
    p95_latency_s: latency.p95,
    min_kv_live_bytes: kv.min,
    mean_kv_live_bytes: kv.mean,
    max_kv_live_bytes: kv.max,
    kv_bounded: kvBounded(kv),
    prefill_bounded: driftS === null ? null : driftS <= prefillBoundedS,
    latency_drift_p50_s: driftS,
    buckets_10min: buckets(ok),
  };
}

/** Schema 2's figures. */
export function aggregateV2(turns: readonly TurnV2[], durationS: number, sessions = 1): AggV2 {
  const ok = turns.filter((turn) => turn.ok);
  const ttft = spread(ok, (turn) => turn.ttft_s);
  const tpot = spread(ok, (turn) => turn.tpot_s);
  const response = spread(ok, responseS);
  const rss = spread(ok, (turn) => turn.server_rss_bytes);
  return {
    ...aggregateV1(turns, durationS),
    n_sessions: new Set(turns.map((turn) => turn.session_index)).size,
    n_emitted_total: ok.reduce((sum, turn) => sum + turn.n_emitted, 0),
    final_history_length: ok.at(-1)?.history_length ?? null,
    p50_append_s: spread(ok, (turn) => turn.append_s).p50,
    p50_ttft_s: ttft.p50,
    p95_ttft_s: ttft.p95,
    p50_tpot_s: tpot.p50,
    p95_tpot_s: tpot.p95,
    max_itl_s: spread(ok, (turn) => turn.itl_max_s).max,
    p50_response_s: response.p50,
    p95_response_s: response.p95,
    max_response_s: response.max,
    min_server_rss_bytes: rss.min,
    max_server_rss_bytes: rss.max,
    ...(sessions > 1 && { together: together(ok, durationS) }),
  };
}

function together(ok: readonly OkTurnV2[], durationS: number): AggTogether {
  const p99 = (field: (turn: OkTurnV2) => number | null) => percentile(columnOf(ok, field), 0.99);
  const perS = (count: number) => (durationS > 0 ? count / durationS : null);
  const last = new Map<number, string>();
  let changes = 0;
  for (const { session_index, server } of ok) {
    if (server === undefined) continue;
    if ((last.get(session_index) ?? server) !== server) changes++;
    last.set(session_index, server);
  }
  return {
    emitted_per_s: perS(ok.reduce((sum, turn) => sum + turn.n_emitted, 0)),
    turns_per_s: perS(ok.length),
    p99_latency_s: p99(latencyOf),
    p99_ttft_s: p99((turn) => turn.ttft_s),
    p99_response_s: p99(responseS),
    n_servers: last.size === 0 ? null : new Set(ok.flatMap(({ server }) => server ?? [])).size,
    n_server_changes: last.size === 0 ? null : changes,
  };
}

/** Where the known values of a field lie; all null when there are none. */
interface Spread {
  count: number;
  min: number | null;
  p50: number | null;
  p95: number | null;
  max: number | null;
  mean: number | null;
}

function spread<T>(turns: readonly T[], field: (turn: T) => number | null | undefined): Spread {
  const sorted = columnOf(turns, field).sort();
  return {
    count: sorted.length,
    min: sorted[0] ?? null,
    p50: percentileOfSorted(sorted, 0.5),
    p95: percentileOfSorted(sorted, 0.95),
    max: sorted.at(-1) ?? null,
    mean: mean(sorted),
  };
}

function kvBounded({ count, min, max }: Spread): boolean | null {
  if (min === null || max === null || count < 2) return null;
  return (max - min) / Math.max(min, 1) < kvBoundedBelow;
}

/** What a user who asked at the scheduled moment waited: the delay of the start, and the turn. */
function responseS(turn: OkTurnV2): number {
  return Math.max(0, turn.t_relative_s - turn.scheduled_s) + turn.latency_s;
}

function latencyDrift(ok: readonly OkTurnV1[]): number | null {
  if (ok.length < 2 * driftTurns) return null;
  const first = percentile(columnOf(ok.slice(0, driftTurns), latencyOf), 0.5);
  const last = percentile(columnOf(ok.slice(-driftTurns), latencyOf), 0.5);
  return first === null || last === null ? null : last - first;
}

function buckets(ok: readonly OkTurnV1[]): Bucket[] {
  const byIndex = Map.groupBy(ok, (turn) => Math.floor(turn.t_relative_s / bucketS));
  return [...byIndex]
    .sort(([a], [b]) => a - b)
    .map(([index, turns]) => {
      const latency = spread(turns, latencyOf);
      return {
        bucket_index: index,
        n_turns: turns.length,
        p50_latency_s: latency.p50 ?? 0,
        p95_latency_s: latency.p95 ?? 0,
        mean_kv_live_bytes: spread(turns, (turn) => turn.kv_live_bytes).mean,
      };
    });
}

function latencyOf(turn: OkTurnV1): number {
  return turn.latency_s;
}
