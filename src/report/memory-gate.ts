/** The memory gate: counted bytes must be exact, and resident memory must not climb. */

import { columnOf, isKnown } from "./column.ts";
import type { Gate, OkTurn, Verdict, World } from "./report.ts";
import { residentMemory } from "./resident-memory.ts";

export type MemoryWorld = Pick<World, "sink" | "window" | "kv_bytes_per_token">;

/**
 * Passes when both parts do. The counted part is judged on every run: `kv_live_bytes` must equal min(history, S + W) x
 * bytes a token after every turn, and `kv_slab_bytes` must be one number throughout and no smaller. One wrong byte
 * fails; a missing value, or nothing but zeros, is inconclusive, unless a turn is wrong. The other part, resident
 * memory, needs a run of hours; a shorter run is not judged by it.
 */
export function memoryGate(ok: readonly OkTurn[], world: MemoryWorld | null): Gate {
  const counted = countedBytes(ok, world);
  const resident = residentMemory(ok);
  const verdict = worst([counted.verdict, resident.verdict]);
  const decisive = [counted, resident].filter((part) => part.verdict === verdict);
  return {
    verdict,
    reason: decisive.map((part) => part.reason).join("; "),
    numbers: { ...counted.numbers, ...resident.numbers },
  };
}

/** A failure outweighs a doubt, and a doubt outweighs a pass. */
export function worst(verdicts: readonly Verdict[]): Verdict {
  if (verdicts.includes("fail")) return "fail";
  return verdicts.includes("inconclusive") ? "inconclusive" : "pass";
}

function countedBytes(ok: readonly OkTurn[], world: MemoryWorld | null): Gate {
  const kept = world === null ? null : world.sink + world.window;
  const live = columnOf(ok, (turn) => turn.kv_live_bytes);
  const slabs = columnOf(ok, (turn) => turn.kv_slab_bytes);
  const slab = slabs[0] ?? null;
  let wrong = 0;
  let firstFault = "";
  for (const turn of ok) {
    const found = world && fault(turn, slab, world);
    if (found !== null && wrong++ === 0) firstFault = `at ${turn.t_relative_s.toFixed(1)} s ${found}`;
  }
  const numbers = {
    turns: ok.length,
    wrong_turns: wrong,
    missing_turns: ok.length - Math.min(live.length, slabs.length),
    tokens_kept: kept,
    kv_bytes_per_token: world?.kv_bytes_per_token ?? null,
    kv_slab_bytes: slab,
  };
  const inconclusive = (reason: string): Gate => ({ verdict: "inconclusive", reason, numbers });
  if (ok.length === 0) return inconclusive("no turn succeeded");
  if (live.length > 0 && live.every((bytes) => bytes === 0)) return inconclusive("live bytes are zero on every turn");
  if (kept === null) return inconclusive("the report does not say what a cached token costs");
  if (wrong > 0) return { verdict: "fail", reason: `${wrong} of ${ok.length} turns are wrong: ${firstFault}`, numbers };
  if (numbers.missing_turns > 0) {
    const reason = `kv_live_bytes or kv_slab_bytes is missing on ${numbers.missing_turns} of ${ok.length} turns`;
    return inconclusive(reason);
  }
  const reason = `min(history, ${kept}) x ${numbers.kv_bytes_per_token} live bytes on each of ${ok.length} turns, in a slab of ${slab}`;
  return { verdict: "pass", reason, numbers };
}

/** What is wrong with a turn's bytes, as far as they are known; null when nothing is. */
function fault(turn: OkTurn, slab: number | null, world: MemoryWorld): string | null {
  const expected = Math.min(turn.history_length, world.sink + world.window) * world.kv_bytes_per_token;
  if (isKnown(turn.kv_live_bytes) && turn.kv_live_bytes !== expected) {
    return `${turn.kv_live_bytes} live bytes instead of ${expected}`;
  }
  if (!isKnown(turn.kv_slab_bytes)) return null;
  if (turn.kv_slab_bytes !== slab) return `a slab of ${turn.kv_slab_bytes} bytes instead of ${slab}`;
  return turn.kv_slab_bytes < expected ? `a slab of ${slab} bytes for ${expected} live bytes` : null;
}
