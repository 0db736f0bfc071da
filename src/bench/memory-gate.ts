/** The memory gate: counted bytes must be exact, and resident memory must not climb. */

import type { Gate, OkTurn, Turn, World } from "./report.ts";
import { residentMemory } from "./resident-memory.ts";
import { isCount, worst } from "./verdict.ts";

export type MemoryWorld = Pick<World, "sink" | "window" | "kv_bytes_per_token">;

/**
 * Passes when both parts do. The counted part is judged on every run: `kv_live_bytes` must equal
 * min(history, S + W) x bytes a token after every turn, and `kv_slab_bytes` must be one number throughout and no
 * smaller. One wrong byte fails; a missing value, or nothing but zeros, is inconclusive, unless a turn is wrong.
 * The other part, resident memory, needs a run of hours; a shorter one is not held against it.
 */
export function memoryGate(turns: readonly Turn[], rotation: number, world: MemoryWorld | null): Gate {
  const ok = turns.filter((turn) => turn.ok);
  const counted = countedBytes(ok, world);
  const resident = residentMemory(ok, rotation);
  const verdict = worst([counted.verdict, resident.verdict]);
  const decisive = [counted, resident].filter((part) => part.verdict === verdict);
  return {
    verdict,
    reason: decisive.map((part) => part.reason).join("; "),
    numbers: { ...counted.numbers, ...resident.numbers },
  };
}

function countedBytes(ok: readonly OkTurn[], world: MemoryWorld | null): Gate {
  const kept = world === null ? null : world.sink + world.window;
  const slab = ok.find((turn) => isCount(turn.kv_slab_bytes))?.kv_slab_bytes ?? null;
  const wrong = kept === null || world === null ? [] : ok.map((turn) => fault(turn, kept, slab, world)).filter(isFault);
  const missing = ok.filter((turn) => !isCount(turn.kv_live_bytes) || !isCount(turn.kv_slab_bytes)).length;
  const numbers = {
    turns: ok.length,
    wrong_turns: wrong.length,
    missing_turns: missing,
    tokens_kept: kept,
    kv_bytes_per_token: world?.kv_bytes_per_token ?? null,
    kv_slab_bytes: slab,
  };
  const inconclusive = (reason: string): Gate => ({ verdict: "inconclusive", reason, numbers });
  if (ok.length === 0) return inconclusive("no turn succeeded");
  if (ok.every((turn) => turn.kv_live_bytes === 0)) return inconclusive("live bytes are zero on every turn");
  if (kept === null) return inconclusive("the report does not say what a cached token costs");
  if (wrong.length > 0) {
    return { verdict: "fail", reason: `${wrong.length} of ${ok.length} turns are wrong: ${wrong[0]}`, numbers };
  }
  if (missing > 0) return inconclusive(`kv_live_bytes or kv_slab_bytes is missing on ${missing} of ${ok.length} turns`);
  const reason = `min(history, ${kept}) x ${numbers.kv_bytes_per_token} live bytes on each of ${ok.length} turns, in a slab of ${slab}`;
  return { verdict: "pass", reason, numbers };
}

/** What is wrong with a turn's bytes, as far as they are known; null when nothing is. */
function fault(turn: OkTurn, kept: number, slab: number | null, world: MemoryWorld): string | null {
  const expected = Math.min(turn.history_length, kept) * world.kv_bytes_per_token;
  const at = `at ${turn.t_relative_s.toFixed(1)} s`;
  if (isCount(turn.kv_live_bytes) && turn.kv_live_bytes !== expected) {
    return `${at} ${turn.kv_live_bytes} live bytes instead of ${expected}`;
  }
  if (isCount(turn.kv_slab_bytes) && turn.kv_slab_bytes !== slab) {
    return `${at} a slab of ${turn.kv_slab_bytes} bytes instead of ${slab}`;
  }
  if (isCount(turn.kv_slab_bytes) && turn.kv_slab_bytes < expected) {
    return `${at} a slab of ${turn.kv_slab_bytes} bytes, too small for ${expected} live bytes`;
  }
  return null;
}

function isFault(found: string | null): found is string {
  return found !== null;
}
