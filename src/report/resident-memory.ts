/** Whether the server's resident memory climbs: the measured half of the memory gate. */

import { columnOf } from "./column.ts";
import type { Gate, OkTurn, Verdict } from "./report.ts";
import { percentile, trend } from "./stats.ts";

const climbPercentPerHour = 1;
const warmUpShare = 1 / 4;
const shortestWarmUpS = 600;
const shortestJudgedS = 3600;
/** Resident memory moves in steps and then stays: neighbouring turns are nearly equal, so the blocks are long. */
const blocks = 10;

/**
 * Passes when the 95% interval of the slope of `server_rss_bytes` lies below +1% an hour (shrinking is no leak), fails
 * when all of it lies above, and is inconclusive when it straddles that, or a turn lacks the value.
 *
 * Warm-up is left out: while code is compiled and allocators grow to their working size, memory climbs and should. It
 * is the first quarter of the run, and at least 10 minutes. A slope per hour taken over less than an hour is mostly
 * noise, so a run with less than that after warm-up is not judged: it passes, `rss_judged` is false, and the reason
 * says so. Then the counted bytes decide, which are exact on any run.
 */
export function residentMemory(ok: readonly OkTurn[]): Gate {
  const timeS = columnOf(ok, (turn) => turn.t_relative_s);
  const rss = columnOf(ok, (turn) => turn.server_rss_bytes);
  const missing = ok.length - rss.length;
  const startS = timeS[0] ?? 0;
  const spanS = (timeS.at(-1) ?? 0) - startS;
  const warmUpS = Math.max(shortestWarmUpS, spanS * warmUpShare);
  const judgedS = Math.max(0, spanS - warmUpS);
  const warm = timeS.findIndex((t) => t - startS >= warmUpS);
  const typical = percentile(rss.subarray(warm), 0.5) ?? 0;
  const enough = missing === 0 && judgedS >= shortestJudgedS && typical > 0;
  const slope = enough
    ? trend({ x: timeS.subarray(warm), y: rss.subarray(warm) }, Math.ceil((rss.length - warm) / blocks))
    : null;
  const percentPerHour = (perS: number) => (perS / typical) * 3600 * 100;
  const numbers = {
    rss_judged: slope !== null,
    rss_missing_turns: missing,
    rss_warm_up_s: warmUpS,
    rss_percent_per_hour: slope && percentPerHour(slope.slope),
    rss_percent_per_hour_low: slope && percentPerHour(slope.low),
    rss_percent_per_hour_high: slope && percentPerHour(slope.high),
  };
  if (missing > 0) {
    return { verdict: "inconclusive", reason: `server_rss_bytes is missing on ${missing} turns`, numbers };
  }
  if (slope === null) {
    const reason = `resident memory not judged: that takes ${shortestJudgedS} s after warm-up, this run has ${judgedS.toFixed(0)}`;
    return { verdict: "pass", reason, numbers };
  }
  const at = percentPerHour(slope.slope);
  const low = percentPerHour(slope.low);
  const high = percentPerHour(slope.high);
  const verdict = verdictOf(low, high);
  return { verdict, reason: inWords(verdict, { at, low, high }), numbers };
}

function verdictOf(low: number, high: number): Verdict {
  if (high <= climbPercentPerHour) return "pass";
  return low > climbPercentPerHour ? "fail" : "inconclusive";
}

function inWords(verdict: Verdict, { at, low, high }: { at: number; low: number; high: number }): string {
  const change = `${at < 0 ? "shrinks" : "grows"} by ${Math.abs(at).toFixed(2)}% an hour`;
  const interval = `95% CI ${low.toFixed(2)} to ${high.toFixed(2)}`;
  const limit = { pass: "within", fail: "more than", inconclusive: "too noisy to compare with" }[verdict];
  return `resident memory ${change} (${interval}), ${limit} ${climbPercentPerHour}%`;
}
