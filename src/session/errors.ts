import { StateError, type StateErrorKind } from "../state/errors.ts";
import type { Violation } from "./invariants.ts";

/** Why a call on a session failed, in terms of what its caller can do about it. */
export type SessionErrorKind =
  /** The session is unknown, closed or evicted: create another one. */
  | "not-found"
  /** The request itself is wrong: correct it. */
  | "invalid-argument"
  /** The session's cache was found corrupt and is gone: create another session. */
  | "invariant-violated"
  /** The session can't be used as it is with this server: its message says how it can. */
  | "failed-precondition"
  /** The bytes that hold the session are damaged, and nothing it could be computed from is left. */
  | "data-loss"
  /** A limit was reached: wait, or ask for less. */
  | "resource-exhausted"
  /** The history is not as long as the call was meant for: somebody else goes on with it. */
  | "out-of-place"
  /** The id chosen for a new session is taken: choose another one. */
  | "already-exists"
  /** Another server has the session, or the database is away: try again, here or there. */
  | "unavailable";

export class SessionError extends Error {
  override name = "SessionError";
  constructor(
    readonly kind: SessionErrorKind,
    message: string,
  ) {
    super(message);
  }
}

/** The cache does not hold what its session counts. */
export class InvariantViolated extends SessionError {
  constructor(
    readonly violation: Violation,
    isRecorded: boolean,
  ) {
    const words = isRecorded ? "the session's next call computes it again" : "the session is gone, create another one";
    super("invariant-violated", `${violation.message}; ${words}`);
  }
}

/** What a caller can do about an error of the state; undefined: nothing that is known. */
export function kindOfState(kind: StateErrorKind): SessionErrorKind | undefined {
  switch (kind) {
    case "full":
      return "resource-exhausted";
    case "damaged":
      return "data-loss";
    case "dropped":
      return "failed-precondition";
    case "not-found":
      return "not-found";
    case "exists":
      return "already-exists";
    case "held":
    case "lost-lease":
    case "unreachable":
      return "unavailable";
    default:
      return undefined;
  }
}

/** Ids were computed but could not be written to the state: the session continues from what is written. */
export class NotRecorded extends SessionError {
  constructor(cause: unknown) {
    const words = cause instanceof Error ? cause.message : String(cause);
    const kind = cause instanceof StateError ? kindOfState(cause.kind) : undefined;
    super(kind ?? "resource-exhausted", `${words}; the session is as it was before the ids that were not written`);
    this.cause = cause;
  }
}

/** The session left memory while a call was on its way to it, so the call has to find it again. */
export class SessionLeft extends Error {
  override name = "SessionLeft";
}

/** The engine computed no numbers for a session: nothing can follow in it. */
export class LogitsNotFinite extends Error {
  override name = "LogitsNotFinite";

  constructor() {
    super(
      "the model computed logits that are not finite numbers; the session is gone. When it happens again, the " +
        "model's files or this machine's memory are damaged",
    );
  }
}

export function outOfPlace(at: number, historyTokens: number): SessionError {
  return new SessionError("out-of-place", `the call is for a history of ${at} tokens, but it has ${historyTokens}`);
}

export function sessionNotFound(id: string): SessionError {
  const shown = id.length > 64 ? `${id.slice(0, 64)}... (${id.length} characters)` : id;
  return new SessionError("not-found", `no session "${shown}": it is unknown, closed or evicted; create another one`);
}
