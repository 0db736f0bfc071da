/** The work gate: a turn costs its own tokens, shown by counting rather than by a clock. */

import { isKnown } from "./column.ts";
import type { Gate, OkTurn, Turn } from "./report.ts";

/** Where a session stood after its last successful turn. */
interface Before {
  history: number;
  /** Null when the turn did not say. */
  computed: number | null;
  drafted: number;
  accepted: number;
  /** A turn failed since: it may have left tokens behind. */
  failed: boolean;
}

/**
 * Passes when on every turn `computed_token_total` and the history grew by exactly user + emitted tokens; a new session
 * starts from zero, so a session that is given an old history again has computed too much and fails. After a failed
 * turn, whose tokens may have been kept or not, and where the bench was resumed, the counter must grow by what the
 * history did.
 *
 * Guesses must add up where they are counted. A step emits one id and the guesses that were right; so a turn's steps
 * are its ids less its right guesses, and no step runs more guesses than `draftLimit`.
 *
 * Inconclusive when a counter is missing, unless another turn is already wrong.
 */
export function workGate(turns: readonly Turn[], draftLimit?: number): Gate {
  const sessions = new Map<number, Before>();
  let last = 0;
  let ok = 0;
  let missing = 0;
  let wrong = 0;
  let firstFault = "";
  for (const turn of turns) {
    const session = ("session_index" in turn ? turn.session_index : undefined) ?? last;
    last = session;
    const before = sessions.get(session) ?? newSession();
    sessions.set(session, before);
    if ("resumed" in turn) before.failed = true;
    if (!turn.ok) {
      before.failed = true;
      continue;
    }
    ok++;
    const found = fault(turn, before) ?? draftFault(turn, before, draftLimit);
    if (found !== null && wrong++ === 0) firstFault = `at ${turn.t_relative_s.toFixed(1)} s ${found}`;
    const computed = ("computed_token_total" in turn ? turn.computed_token_total : undefined) ?? null;
    if (computed === null) missing++;
    const { drafted, accepted } = draftsOf(turn) ?? before;
    sessions.set(session, { history: turn.history_length, computed, drafted, accepted, failed: false });
  }
  const numbers = { turns: ok, wrong_turns: wrong, missing_turns: missing };
  if (ok === 0) return { verdict: "inconclusive", reason: "no turn succeeded", numbers };
  if (wrong > 0) return { verdict: "fail", reason: `${wrong} of ${ok} turns are wrong: ${firstFault}`, numbers };
  if (missing > 0) {
    return { verdict: "inconclusive", reason: `computed_token_total is missing on ${missing} of ${ok} turns`, numbers };
  }
  return { verdict: "pass", reason: `each of ${ok} turns computed its own tokens and no more`, numbers };
}

function newSession(): Before {
  return { history: 0, computed: 0, drafted: 0, accepted: 0, failed: false };
}

/** What is wrong with a turn's counts, as far as they are known; null when nothing is. */
function fault(turn: OkTurn, before: Before): string | null {
  const computed = turn.computed_token_total;
  if (!isKnown(computed) || before.computed === null) return null;
  const gained = turn.history_length - before.history;
  const own = before.failed ? gained : turn.user_message_tokens + turn.n_emitted;
  const grew = computed - before.computed;
  if (grew !== own) return `${grew} tokens were computed instead of ${own}`;
  return gained === own ? null : `the history grew by ${gained} tokens instead of ${own}`;
}

/** The guesses that a turn's session has counted so far; undefined where it says nothing of them. */
function draftsOf(turn: OkTurn): { drafted: number; accepted: number } | undefined {
  if (!("drafted_token_total" in turn)) return undefined;
  const { drafted_token_total: drafted, accepted_draft_total: accepted } = turn;
  return isKnown(drafted) && isKnown(accepted) ? { drafted, accepted } : undefined;
}

/** What is wrong with a turn's guesses; null when nothing is, or they are not known. */
function draftFault(turn: OkTurn, before: Before, limit = Number.POSITIVE_INFINITY): string | null {
  const totals = draftsOf(turn);
  // What a failed turn generated is not known, and so neither are its steps.
  if (totals === undefined || before.failed) return null;
  // A session that came back into memory counts from zero.
  const anew = totals.drafted < before.drafted && totals.accepted <= before.accepted;
  const drafted = totals.drafted - (anew ? 0 : before.drafted);
  const accepted = totals.accepted - (anew ? 0 : before.accepted);
  if (accepted < 0 || accepted > drafted) return `${accepted} of ${drafted} guesses were right`;
  const steps = turn.n_emitted - accepted;
  if (steps < Math.min(1, turn.n_emitted)) return `${accepted} guesses were right, and ${turn.n_emitted} ids emitted`;
  return drafted <= limit * steps ? null : `${steps} steps ran ${drafted} guesses, more than ${limit} each`;
}
