/** The run: turns at their time until the run is long enough or is told to stop. */

import type { TurnV2 } from "../report/report.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { Clock } from "./clock.ts";
import { Pace, waitUntil } from "./pace.ts";
import type { RunRecord } from "./record.ts";
import type { Walk } from "./walk.ts";

/** Without spacing, the turn after a failed one waits this long: a dead server refuses very fast. */
const pauseAfterFailureS = 1;

export interface RunOptions {
  durationS: number;
  /** From one turn's intended start to the next one's; 0: each begins when the one before is done. */
  turnSpacingS: number;
  /** End after this many turns; null: only the duration ends the run. */
  turnsTarget: number | null;
}

export interface RunParts {
  walk: Pick<Walk, "turn">;
  record: RunRecord;
  checkpoint: Checkpoint;
  /** Starts with the run. */
  clock: Clock;
  /** Aborted: the turn in flight is given up and the run ends. */
  stop: AbortSignal;
  onTurn: (turn: TurnV2) => void;
}

/** The longest warm-up: a slow model's kernels are warm after a turn or two. */
export const longestWarmUpS = 10;

/**
 * Runs turns that nobody records, so that the first recorded ones don't measure how code is compiled and memory
 * allocated; then closes their session. Returns how many ran. Throws when one fails, because the run would be useless.
 */
export async function warmUp(walk: Walk, turns: number, clock: Clock): Promise<number> {
  const { signal } = new AbortController();
  const endS = clock.nowS() + longestWarmUpS;
  let ran = 0;
  for (let now = clock.nowS(); ran < turns && now < endS; now = clock.nowS()) {
    const turn = await walk.turn({ scheduledS: now, startedS: now }, signal);
    if (turn?.ok === false)
      throw new Error(`turn ${ran + 1} of the warm-up failed: ${turn.error_class}: ${turn.error_str}`);
    ran++;
  }
  await walk.close();
  return ran;
}

/** Fills `record` with the turns of all walks at the same time, which begin evenly spread over the spacing. */
export async function runTogether(
  options: RunOptions,
  walks: readonly RunParts["walk"][],
  parts: Omit<RunParts, "walk">,
): Promise<void> {
  const begun = { turns: parts.record.turns.length };
  const spreadS = options.turnSpacingS / walks.length;
  await Promise.all(walks.map((walk, index) => run(options, { ...parts, walk }, { firstS: index * spreadS, begun })));
}

/** Fills `record`. Ends at the duration, at the last turn asked for, or when told to stop; errors of turns are data. */
export async function run(
  options: RunOptions,
  parts: RunParts,
  { firstS = 0, begun = { turns: parts.record.turns.length } } = {},
): Promise<void> {
  const { walk, record, checkpoint, clock, stop } = parts;
  const pace = new Pace(options.turnSpacingS, clock, record.turns.length === 0 ? firstS : clock.nowS());
  const target = options.turnsTarget ?? Number.POSITIVE_INFINITY;
  while (begun.turns < target && pace.nextS < options.durationS) {
    begun.turns++;
    const start = await pace.next(stop);
    // A run that has a backlog at its end is over all the same.
    if (stop.aborted || start.startedS >= options.durationS) break;
    const turn = await walk.turn(start, stop);
    if (turn === undefined) break;
    record.turns.push(turn);
    parts.onTurn(turn);
    checkpoint.writeIfDue(pace.nextS);
    if (!turn.ok) await waitUntil(clock.nowS() + pauseAfterFailureS, clock, stop);
  }
  if (begun.turns < target) await waitUntil(options.durationS, clock, stop);
}
