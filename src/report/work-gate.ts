/** The work gate: a turn costs its own tokens, shown by counting rather than by a clock. */

import type { Gate, OkTurn, Turn } from "./report.ts";
import { isCount } from "./verdict.ts";

/** Where a session stood after its last successful turn. */
interface Before {
  session: number;
  history: number;
  /** Null when the turn did not say. */
  computed: number | null;
  /** A turn failed since: it may have left tokens behind. */
  failed: boolean;
}

/**
 * Passes when on every turn `computed_token_total` and the history grew by exactly user + emitted tokens; a new
 * session starts from zero, so one that is given an old history again has computed too much and fails. After a
 * failed turn, whose tokens may have been kept or not, the counter must grow by what the history did.
 *
 * Inconclusive when a counter is missing, unless another turn is already wrong.
 */
export function workGate(turns: readonly Turn[]): Gate {
  let before: Before = newSession(0);
  let ok = 0;
  let missing = 0;
  let wrong = 0;
  let firstFault = "";
  for (const turn of turns) {
    const session = ("session_index" in turn ? turn.session_index : undefined) ?? before.session;
    if (session !== before.session) before = newSession(session);
    if (!turn.ok) {
      before.failed = true;
      continue;
    }
    ok++;
    const found = fault(turn, before);
    if (found !== null && wrong++ === 0) firstFault = `at ${turn.t_relative_s.toFixed(1)} s ${found}`;
    const computed = ("computed_token_total" in turn ? turn.computed_token_total : undefined) ?? null;
    if (computed === null) missing++;
    before = { session, history: turn.history_length, computed, failed: false };
  }
  const numbers = { turns: ok, wrong_turns: wrong, missing_turns: missing };
  if (ok === 0) return { verdict: "inconclusive", reason: "no turn succeeded", numbers };
  if (wrong > 0) return { verdict: "fail", reason: `${wrong} of ${ok} turns are wrong: ${firstFault}`, numbers };
  if (missing > 0) {
    return { verdict: "inconclusive", reason: `computed_token_total is missing on ${missing} of ${ok} turns`, numbers };
  }
  return { verdict: "pass", reason: `each of ${ok} turns computed its own tokens and no more`, numbers };
}

function newSession(session: number): Before {
  return { session, history: 0, computed: 0, failed: false };
}

/** What is wrong with a turn's counts, as far as they are known; null when nothing is. */
function fault(turn: OkTurn, before: Before): string | null {
  const computed = turn.computed_token_total;
  if (!isCount(computed) || before.computed === null) return null;
  const gained = turn.history_length - before.history;
  const own = before.failed ? gained : turn.user_message_tokens + turn.n_emitted;
  const grew = computed - before.computed;
  if (grew !== own) return `${grew} tokens were computed instead of ${own}`;
  return gained === own ? null : `the history grew by ${gained} tokens instead of ${own}`;
}
