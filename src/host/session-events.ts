import type { EngineCrashed } from "../engine/engine.ts";
import type { Session } from "../session/session.ts";
import type { SessionEvents } from "../session/store.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";

/** Counts and logs what happens to sessions. Whole ids stay out of the log: who knows one can use the session. */
export function sessionEvents(metrics: Metrics, log: Log, onCrash: (error: EngineCrashed) => void): SessionEvents {
  const named = (session: Session) => ({ session: session.id.slice(0, 8), label: session.label || undefined });
  return {
    created(session) {
      log.info("session created", named(session));
    },
    evicted(session, reason) {
      metrics.sessionEvicted.inc({ reason });
      log.info("session evicted", { ...named(session), reason });
    },
    violated(session, violation) {
      metrics.violations.inc({ kind: violation.invariant });
      log.error("cache invariant violated", { ...named(session), reason: violation.message });
    },
    ended(session, outcome) {
      metrics.sessionTotal.inc({ outcome });
      log.info("session ended", { ...named(session), outcome, history_tokens: session.historyTokens });
    },
    engineCrashed(error) {
      log.error("engine crashed", { error: error.message });
      onCrash(error);
    },
  };
}
