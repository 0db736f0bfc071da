import { type Served, serverOfEach } from "./misses.ts";
import type { Turn } from "./walker.ts";

export interface Takeovers {
  server: string;
  killed_s: number;
  /** Sessions whose last call before was the killed server's, and that had another one since. */
  sessions: number;
  /** From the kill to a session's next id. */
  median_s: number | null;
  latest_s: number | null;
  /** The longest time that a session waited for its next id after the lease had run out, or after it asked. */
  latest_after_lease_s: number;
}

/** How long the sessions of killed servers waited for another one. */
export function takeoversOf({
  kills,
  turns,
  served,
  startedAtMs,
  leaseS,
}: {
  kills: readonly { server: string; atS: number }[];
  turns: readonly Turn[];
  served: readonly Served[];
  startedAtMs: number;
  leaseS: number;
}): Takeovers[] {
  return kills.map(({ server, atS }) => {
    const owner = serverOfEach(served, startedAtMs + atS * 1000);
    const next = new Map<string, Turn>();
    for (const turn of turns) {
      const { session, endedS } = turn;
      if (owner.get(session) === server && endedS > atS && !next.has(session)) next.set(session, turn);
    }
    // An answer that was under way goes on; only its end is known.
    const waited = [...next.values()].map(({ startedS, firstIdS, endedS }) => {
      const untilS = firstIdS > atS ? firstIdS : endedS;
      return { sinceKillS: untilS - atS, afterLeaseS: untilS - Math.max(startedS, atS + leaseS) };
    });
    const times = waited.map(({ sinceKillS }) => sinceKillS).toSorted((a, b) => a - b);
    return {
      server,
      killed_s: atS,
      sessions: waited.length,
      median_s: times[Math.floor(times.length / 2)] ?? null,
      latest_s: times.at(-1) ?? null,
      latest_after_lease_s: Math.max(0, ...waited.map(({ afterLeaseS }) => afterLeaseS)),
    };
  });
}
