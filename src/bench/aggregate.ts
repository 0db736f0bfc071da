/** Every figure of a report, recomputed from its turns. Pure. */

import { columnOf } from "./column.ts";
import type { AggV1, AggV2, Bucket, OkTurnV1, OkTurnV2, Report, Turn, TurnV2 } from "./report.ts";
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
    : aggregateV2(report.turns, report.duration_s);
}

/** Schema 1's figures, of turns of either version. */
export function aggregateV1(turns: readonly Turn[], durationS: number | null): AggV1 {
  const ok = turns.filter((turn) => turn.ok);
  const latencyS = columnOf(ok, latencyOf).sort();
  const kv = columnOf(ok, (turn) => turn.kv_live_bytes).sort();
  const min = kv[0] ?? null;
  const max = kv.at(-1) ?? null;
  const driftS = latencyDrift(ok);
  return {
    n_turns: turns.length,
    n_errors: turns.length - ok.length,
    duration_s: durationS,
    p50_latency_s: percentileOfSorted(latencyS, 0.5),
    p95_latency_s: percentileOfSorted(latencyS, 0.95),
    min_kv_live_bytes: min,
    mean_kv_live_bytes: mean(kv),
    max_kv_live_bytes: max,
    kv_bounded: min === null || max === null || kv.length < 2 ? null : (max - min) / Math.max(min, 1) < kvBoundedBelow,
    prefill_bounded: driftS === null ? null : driftS <= prefillBoundedS,
    latency_drift_p50_s: driftS,
    buckets_10min: buckets(ok),
  };
}

/** Schema 2's figures. */
export function aggregateV2(turns: readonly TurnV2[], durationS: number): AggV2 {
  const ok = turns.filter((turn) => turn.ok);
  const appendS = columnOf(ok, (turn) => turn.append_s).sort();
  const ttftS = columnOf(ok, (turn) => turn.ttft_s).sort();
  const tpotS = columnOf(ok, (turn) => turn.tpot_s).sort();
  const itlMaxS = columnOf(ok, (turn) => turn.itl_max_s).sort();
  const rss = columnOf(ok, (turn) => turn.server_rss_bytes).sort();
  const response = columnOf(ok, responseS).sort();
  return {
    ...aggregateV1(turns, durationS),
    n_sessions: new Set(turns.map((turn) => turn.session_index)).size,
    n_emitted_total: ok.reduce((sum, turn) => sum + turn.n_emitted, 0),
    final_history_length: ok.at(-1)?.history_length ?? null,
    p50_append_s: percentileOfSorted(appendS, 0.5),
    p50_ttft_s: percentileOfSorted(ttftS, 0.5),
    p95_ttft_s: percentileOfSorted(ttftS, 0.95),
    p50_tpot_s: percentileOfSorted(tpotS, 0.5),
    p95_tpot_s: percentileOfSorted(tpotS, 0.95),
    max_itl_s: itlMaxS.at(-1) ?? null,
    p50_response_s: percentileOfSorted(response, 0.5),
    p95_response_s: percentileOfSorted(response, 0.95),
    max_response_s: response.at(-1) ?? null,
    min_server_rss_bytes: rss[0] ?? null,
    max_server_rss_bytes: rss.at(-1) ?? null,
  };
}

/** What a user who asked at the scheduled moment waited: the delay of the start, and the turn. */
export function responseS(turn: OkTurnV2): number {
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
      const latencyS = columnOf(turns, latencyOf).sort();
      return {
        bucket_index: index,
        n_turns: turns.length,
        p50_latency_s: percentileOfSorted(latencyS, 0.5) ?? 0,
        p95_latency_s: percentileOfSorted(latencyS, 0.95) ?? 0,
        mean_kv_live_bytes: mean(columnOf(turns, (turn) => turn.kv_live_bytes)),
      };
    });
}

function latencyOf(turn: OkTurnV1): number {
  return turn.latency_s;
}
