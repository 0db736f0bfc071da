import { SessionError, type SessionErrorKind } from "../session/errors.ts";
import type { SessionInfo } from "../session/session.ts";
import type { SessionStore } from "../session/store.ts";
import { ApiError } from "./api-error.ts";
import { idsUpTo, type Seat, type Turn } from "./turn.ts";

/** A seat with what has to be appended first. */
export interface TakenSeat {
  seat: Seat;
  /** The ids of a history that is not in the session yet. */
  missing: Uint32Array | undefined;
}

/**
 * The door's own sessions. A seat that is left with a turn waits for the turn that continues it. Meanwhile its session
 * may make room for another at any time: its history is then computed again from the turns' ids.
 */
export class Seats {
  /** How many turns are kept that happened in a session. */
  readonly #keptTurns = new Map<string, number>();

  constructor(
    private readonly store: SessionStore,
    private readonly eosTokenIds: readonly number[],
  ) {}

  /** `turn` is kept from now on, and with it the session that it happened in. */
  keep({ sessionId }: Turn): void {
    this.#keptTurns.set(sessionId, (this.#keptTurns.get(sessionId) ?? 0) + 1);
  }

  /** Nobody will continue `turn` any more; the last one of a session gives it back. */
  async give(turn: Turn): Promise<void> {
    const { sessionId } = turn;
    const left = (this.#keptTurns.get(sessionId) ?? 1) - 1;
    if (left > 0) {
      this.#keptTurns.set(sessionId, left);
      return;
    }
    this.#keptTurns.delete(sessionId);
    turn.seat = undefined;
    await this.close({ sessionId });
  }

  /** The seat that waits for the continuation of `turn`; undefined when there is none. */
  take(turn: Turn): Seat | undefined {
    const { seat } = turn;
    turn.seat = undefined;
    return seat;
  }

  /** A seat of its own for the history up to `turn`; undefined: for an empty one. @throws HistoryNotKept */
  async open(turn: Turn | undefined): Promise<TakenSeat> {
    const forked = turn && (await this.#forked(turn));
    if (forked !== undefined && !(forked instanceof SessionError)) return { seat: forked, missing: undefined };
    const missing = turn && idsUpTo(turn);
    if (turn !== undefined && missing === undefined) throw new HistoryNotKept(forked?.message);
    const { id } = await this.store.create(this.eosTokenIds, "http", "rebuilder");
    return { seat: { sessionId: id, workTokens: 0 }, missing };
  }

  /** The seat's session now holds the history up to `turn`. */
  leaveWith(turn: Turn, seat: Seat): void {
    turn.seat = seat;
  }

  async close({ sessionId }: Pick<Seat, "sessionId">): Promise<void> {
    await this.store.close(sessionId).catch((error: unknown) => {
      // It was evicted, or ended with the error that made us close it.
      if (!(error instanceof SessionError)) throw error;
    });
  }

  /** Where sessions outlive the server, a session that went on can be copied as it was. */
  async #forked({ sessionId, tokens }: Turn): Promise<Seat | SessionError | undefined> {
    // A copy would have to wait for the call that is under way.
    const isBusy = [...this.store.sessions].some(({ id, idle }) => id === sessionId && !idle);
    if (isBusy || !this.store.forksAnywhere) return undefined;
    try {
      return { sessionId: await this.store.fork(sessionId, tokens), workTokens: tokens };
    } catch (error) {
      const isPassing = (kind: SessionErrorKind) => kind === "resource-exhausted" || kind === "unavailable";
      if (error instanceof SessionError && !isPassing(error.kind)) return error;
      throw error;
    }
  }
}

/** Tokens that the engine has run for a session, including those computed again. */
export function workTokensOf({ computedTokens, replayedTokens }: SessionInfo): number {
  return computedTokens + replayedTokens;
}

/** The ids that made a turn are gone. */
export class HistoryNotKept extends ApiError {
  /** @param why its session can't be used, if there is one */
  constructor(why = "neither is its session") {
    super(`the beginning of this conversation is not kept any more, and ${why}; send all of it again`, {
      status: 404,
      code: "history_not_kept",
    });
  }
}
