import { SessionError } from "../session/errors.ts";
import type { SessionInfo } from "../session/session.ts";
import type { SessionStore } from "../session/store.ts";
import { ApiError } from "./api-error.ts";
import { idsUpTo, type Seat, type Turn } from "./turn.ts";

/**
 * The door's own sessions. Whoever has taken a seat is alone in it. One that is left with a turn waits for the turn that
 * continues it; it may give way to another one at any time, since its history can be computed again from the turns' ids.
 */
export class Seats {
  /** Turns whose seats wait, least recently left first. */
  readonly #waiting = new Set<Turn>();

  constructor(
    private readonly store: SessionStore,
    private readonly eosTokenIds: readonly number[],
  ) {}

  /** A seat whose session holds exactly the history up to `turn`; an empty one for undefined. */
  async take(turn: Turn | undefined): Promise<Seat> {
    if (turn === undefined) return await this.#create();
    const seat = this.#leave(turn);
    if (seat !== undefined && (await this.#isAlive(seat, turn))) return seat;
    return await this.#computeAgain(turn);
  }

  /** The seat's session now holds the history up to `turn`. */
  leaveWith(turn: Turn, seat: Seat): void {
    turn.seat = seat;
    this.#waiting.add(turn);
  }

  info(seat: Seat): Promise<SessionInfo> {
    return this.store.info(seat.sessionId);
  }

  /** Gives the seat of a turn back that nobody will continue. */
  async give(turn: Turn): Promise<void> {
    const seat = this.#leave(turn);
    if (seat !== undefined) await this.close(seat);
  }

  async close({ sessionId }: Seat): Promise<void> {
    await this.store.close(sessionId).catch((error: unknown) => {
      // It was evicted, or ended with the error that made us close it.
      if (!(error instanceof SessionError)) throw error;
    });
  }

  #leave(turn: Turn): Seat | undefined {
    const { seat } = turn;
    turn.seat = undefined;
    this.#waiting.delete(turn);
    return seat;
  }

  async #isAlive(seat: Seat, turn: Turn): Promise<boolean> {
    try {
      return (await this.store.info(seat.sessionId)).historyTokens === turn.tokens;
    } catch (error) {
      if (error instanceof SessionError) return false;
      throw error;
    }
  }

  async #computeAgain(turn: Turn): Promise<Seat> {
    const ids = idsUpTo(turn);
    if (ids === undefined) throw new HistoryNotKept();
    const seat = await this.#create();
    try {
      await this.store.append(seat.sessionId, ids);
      return seat;
    } catch (error) {
      await this.close(seat);
      throw error;
    }
  }

  /** When there is no room, a session of the door's own makes some. */
  async #create(): Promise<Seat> {
    for (;;) {
      try {
        const { id } = await this.store.create(this.eosTokenIds, "http");
        return { sessionId: id, computedTokens: 0 };
      } catch (error) {
        const [longestWaiting] = this.#waiting;
        const isFull = error instanceof SessionError && error.kind === "resource-exhausted";
        if (!isFull || longestWaiting === undefined) throw error;
        await this.give(longestWaiting);
      }
    }
  }
}

/** What a turn was made of is gone. */
export class HistoryNotKept extends ApiError {
  constructor() {
    const message =
      "the beginning of this conversation is not kept any more, and neither is its session; send all of it again";
    super(message, { status: 404, code: "history_not_kept" });
  }
}
