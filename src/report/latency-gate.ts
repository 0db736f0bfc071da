/** The latency gate: seconds per token must not drift over the run. */

import { columnOf } from "./column.ts";
import type { Gate, OkTurn, Verdict } from "./report.ts";
import { percentile, trend } from "./stats.ts";

const fewestTurns = 20;
const bandPercent = 10;
/**
 * In a shorter run, whatever else the machine does looks like drift: one neighbour that starts or stops moves the whole
 * run.
 */
const shortRunS = 300;
const shortRunFailsBeyondPercent = 50;
const endsRatioBelow = 1.5;
const longestEndS = 600;
/** Turns at each end whose median the gate trusts. */
const fewestEndTurns = 5;

/**
 * Takes each turn's latency per emitted token: decoding is nearly all of a turn's time, and a turn's few user tokens
 * cost one step however many they are. The drift is the Theil-Sen slope times the run's span, in percent of the
 * median at the start, with a 95% moving-block bootstrap interval (see `trend`); a block is one rotation of the
 * workload, which holds every message once. Start and end are the first and the last 10 minutes; at most a quarter
 * of the run, at least 5 turns.
 *
 * - pass: the whole interval lies within +-10%, and the median at the end is below 1.5 x that at the start (the
 *   slope is robust, so a late jump alone would not move it);
 * - fail: the whole interval lies outside; or it is no wider than the band, and the estimate lies outside or the
 *   median jumped;
 * - inconclusive: fewer than 20 turns, an interval wider than the band, or one that merely reaches out of it; and in
 *   a run of less than 5 minutes also what would be a failure, unless the whole interval lies outside +-50%.
 */
export function latencyGate(ok: readonly OkTurn[], rotation: number): Gate {
  const spoken = ok.filter((turn) => turn.n_emitted > 0);
  const x = columnOf(spoken, (turn) => turn.t_relative_s);
  const y = columnOf(spoken, secondsPerToken);
  const spanS = (x.at(-1) ?? 0) - (x[0] ?? 0);
  const endS = Math.min(longestEndS, spanS / 4);
  const early = x.findLastIndex((t) => t - (x[0] ?? 0) <= endS) + 1;
  const late = x.findIndex((t) => (x.at(-1) ?? 0) - t <= endS);
  const start = percentile(y.subarray(0, Math.max(early, fewestEndTurns)), 0.5) ?? 0;
  const end = percentile(y.subarray(Math.max(0, Math.min(late, y.length - fewestEndTurns))), 0.5) ?? 0;
  const slope = spoken.length < fewestTurns || start <= 0 ? null : trend({ x, y }, rotation);
  const percent = (perS: number) => ((perS * spanS) / start) * 100;
  const ratio = start > 0 ? end / start : null;
  const numbers = {
    turns: spoken.length,
    drift_percent: slope && percent(slope.slope),
    drift_percent_low: slope && percent(slope.low),
    drift_percent_high: slope && percent(slope.high),
    start_p50_s_per_token: start,
    end_p50_s_per_token: end,
    end_to_start: ratio,
  };
  const inconclusive = (reason: string): Gate => ({ verdict: "inconclusive", reason, numbers });
  if (spoken.length < fewestTurns) {
    return inconclusive(`${spoken.length} turns with tokens, at least ${fewestTurns} are needed`);
  }
  if (slope === null || ratio === null) return inconclusive("the turns have no duration, or all began at one moment");

  const [at, low, high] = [percent(slope.slope), percent(slope.low), percent(slope.high)];
  const judged = verdictOf(at, low, high, ratio);
  const beyondDoubt = low > shortRunFailsBeyondPercent || high < -shortRunFailsBeyondPercent;
  const tooShort = judged === "fail" && spanS < shortRunS && !beyondDoubt;
  const verdict = tooShort ? "inconclusive" : judged;
  const doubt = verdict === "pass" || verdict === "fail" ? "" : `too ${tooShort ? "short" : "noisy"} to tell: `;
  const drift = `seconds per token drift by ${at.toFixed(1)}% over the run (95% CI ${low.toFixed(1)} to ${high.toFixed(1)})`;
  const ends = `the median at the end is ${ratio.toFixed(2)} x that at the start`;
  return { verdict, reason: `${doubt}${drift}, ${ends}`, numbers };
}

/** Of the drift and its interval in percent, and the ratio of the medians at the run's ends. */
function verdictOf(at: number, low: number, high: number, ratio: number): Verdict {
  if (low > bandPercent || high < -bandPercent) return "fail";
  if (high - low > 2 * bandPercent) return "inconclusive";
  if (Math.abs(at) > bandPercent || ratio >= endsRatioBelow) return "fail";
  return low < -bandPercent || high > bandPercent ? "inconclusive" : "pass";
}

function secondsPerToken(turn: OkTurn): number {
  return turn.latency_s / turn.n_emitted;
}
