/**
 * What a run proves: five gates, each pass, fail or inconclusive, with the numbers behind it. Pure.
 *
 * All but latency count: a single wrong number fails them, and a number that is missing makes them inconclusive,
 * never a pass. Latency is measured with a clock and judged by the size of the effect, not by its significance.
 */

import { columnOf } from "./column.ts";
import { latencyGate } from "./latency-gate.ts";
import { type MemoryWorld, memoryGate } from "./memory-gate.ts";
import {
  type Gate,
  type GateName,
  type Gates,
  gateNames,
  type OkTurn,
  type Report,
  type Turn,
  type Verdict,
} from "./report.ts";
import { workGate } from "./work-gate.ts";

/** The rotation of reports that don't record one: six messages. */
const builtInRotation = 6;

/** What the gates need to know besides the turns. */
export interface GateContext {
  /** Null for schema 1, which does not say what a cached token costs. */
  world: (MemoryWorld & { draft_limit?: number }) | null;
  /** Messages in one rotation of the workload. */
  rotation: number;
}

/** The gates of a report, from its turns and its world; what it stores under `gates` is not read. */
export function judgeReport(report: Report): Gates {
  return report.schema_version === 1
    ? judge(report.turns, { world: null, rotation: builtInRotation })
    : judge(report.turns, { world: report.world, rotation: report.config.workload_messages });
}

export function judge(turns: readonly Turn[], { world, rotation }: GateContext): Gates {
  const ok: OkTurn[] = turns.filter((turn) => turn.ok);
  return {
    memory: memoryGate(ok, world),
    work: workGate(turns, world?.draft_limit),
    latency: latencyGate(ok, rotation),
    invariants: invariantsGate(ok),
    errors: errorsGate(turns),
  };
}

/**
 * The exit code that one run's gates call for, or several runs' together: 3 when one failed, 4 when one that counts
 * is inconclusive, else 0. A clock may be noisy: an inconclusive latency gate is 4 only when `strict`.
 */
export function exitCode(gates: Gates | readonly Gates[], { strict }: { strict: boolean }): 0 | 3 | 4 {
  const runs = [gates].flat();
  const some = (names: readonly GateName[], verdict: Verdict) =>
    runs.some((run) => names.some((name) => run[name].verdict === verdict));
  if (some(gateNames, "fail")) return 3;
  const counting = gateNames.filter((name) => name !== "latency" || strict);
  return some(counting, "inconclusive") ? 4 : 0;
}

/** Passes when the server counted no violation of INV-1 or INV-2 on any turn; inconclusive when a counter is missing. */
export function invariantsGate(ok: readonly OkTurn[]): Gate {
  const inv1 = columnOf(ok, (turn) => turn.inv1);
  const inv2 = columnOf(ok, (turn) => turn.inv2);
  const numbers = {
    turns: ok.length,
    missing_turns: ok.length - Math.min(inv1.length, inv2.length),
    wrong_turns: ok.filter((turn) => (turn.inv1 ?? 0) > 0 || (turn.inv2 ?? 0) > 0).length,
  };
  if (ok.length === 0) return { verdict: "inconclusive", reason: "no turn succeeded", numbers };
  if (numbers.wrong_turns > 0) {
    const reason = `the server counted violations of INV-1 or INV-2 on ${numbers.wrong_turns} of ${ok.length} turns`;
    return { verdict: "fail", reason, numbers };
  }
  if (numbers.missing_turns > 0) {
    const reason = `inv1 or inv2 is missing on ${numbers.missing_turns} of ${ok.length} turns`;
    return { verdict: "inconclusive", reason, numbers };
  }
  return { verdict: "pass", reason: `INV-1 and INV-2 held on each of ${ok.length} turns`, numbers };
}

/** Passes when no turn failed; inconclusive when there is no turn at all. */
export function errorsGate(turns: readonly Turn[]): Gate {
  const failed = turns.filter((turn) => !turn.ok);
  const numbers = { turns: turns.length, failed_turns: failed.length };
  if (turns.length === 0) return { verdict: "inconclusive", reason: "no turn at all", numbers };
  const [first] = failed;
  if (first === undefined) return { verdict: "pass", reason: `none of ${turns.length} turns failed`, numbers };
  const reason = `${failed.length} of ${turns.length} turns failed, the first at ${first.t_relative_s.toFixed(1)} s: ${first.error_class}: ${first.error_str}`;
  return { verdict: "fail", reason, numbers };
}
