import type { Session } from "../session/session.ts";
import { shownSessionId } from "../session/session-id.ts";
import type { SessionEvents } from "../session/store.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";

/** Counts and logs what happens to sessions. */
export function sessionEvents(metrics: Metrics, log: Log): SessionEvents {
  const named = (session: Session) => ({ session: shownSessionId(session.id), label: session.label || undefined });
  return {
    created(session) {
      log.info("session created", named(session));
    },
    evicted(session, reason) {
      metrics.sessionEvicted.inc({ reason });
      log.info("session evicted", { ...named(session), reason, history_tokens: session.historyTokens });
    },
    violated(session, violation) {
      metrics.violations.inc({ kind: violation.invariant });
      log.error("cache invariant violated", { ...named(session), reason: violation.message });
    },
    guessed(drafted, accepted) {
      metrics.drafted.inc(drafted);
      metrics.accepted.inc(accepted);
    },
    ended(session, outcome) {
      metrics.sessionTotal.inc({ outcome });
      // Its eviction is logged already, with the reason.
      if (outcome !== "evicted")
        log.info("session ended", { ...named(session), outcome, history_tokens: session.historyTokens });
    },
    parked(session) {
      metrics.parked.inc();
      log.info("session parked", { ...named(session), history_tokens: session.historyTokens });
    },
    restored(session, { durationS, replayedTokens }) {
      metrics.restored(durationS, replayedTokens);
      const words = { session: shownSessionId(session.id), label: session.label || undefined };
      log.info("session restored", {
        ...words,
        history_tokens: session.tokens,
        replayed_tokens: replayedTokens,
        seconds: Number(durationS.toFixed(3)),
      });
    },
    tookOver(id, from) {
      metrics.takeovers.inc();
      log.info("session taken over", { session: shownSessionId(id), from });
    },
    lostLease(id) {
      metrics.lostLeases.inc();
      log.warn("session lost to another server", { session: shownSessionId(id) });
    },
    warned(words) {
      log.warn(words);
    },
  };
}
