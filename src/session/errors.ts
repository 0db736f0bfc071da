import type { Violation } from "./invariants.ts";

/** Why a call on a session failed, in terms of what its caller can do about it. */
export type SessionErrorKind =
  /** The session is unknown, closed or evicted: create another one. */
  | "not-found"
  /** The request itself is wrong: correct it. */
  | "invalid-argument"
  /** The session's cache was found corrupt and is gone: create another session. */
  | "invariant-violated"
  /** A limit was reached: wait, or ask for less. */
  | "resource-exhausted";

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
  constructor(readonly violation: Violation) {
    super("invariant-violated", `${violation.message}; the session is gone, create another one`);
  }
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

export function sessionNotFound(id: string): SessionError {
  const shown = id.length > 64 ? `${id.slice(0, 64)}... (${id.length} characters)` : id;
  return new SessionError("not-found", `no session "${shown}": it is unknown, closed or evicted; create another one`);
}
