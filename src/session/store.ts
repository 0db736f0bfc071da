import { type Engine, EngineCrashed, type SequenceId } from "../engine/engine.ts";
import { InvariantViolated, SessionError, sessionNotFound } from "./errors.ts";
import type { Violation } from "./invariants.ts";
import { type GenerateOptions, type GenerationEvent, Session, type SessionHost, type SessionInfo } from "./session.ts";

export type EvictionReason = "capacity" | "idle";

/** How a session's life ended. */
export type SessionOutcome = "closed" | "evicted" | "violated" | "failed" | "shutdown";

/** What the store tells of its sessions' lives, for metrics and logs. */
export interface SessionEvents {
  created(session: Session): void;
  evicted(session: Session, reason: EvictionReason): void;
  violated(session: Session, violation: Violation): void;
  ended(session: Session, outcome: SessionOutcome): void;
}

export interface StoreOptions {
  /** Idle time after which a session is evicted, in seconds; 0: never. */
  ttlS: number;
  /** Idle time after which a session gives way to a new one when there is no room, in seconds. */
  evictAfterS: number;
  maxWaitingCalls: number;
  /** Monotonic clock, in seconds. */
  now: () => number;
  /** A new session's unguessable id. */
  newId: () => string;
  events: SessionEvents;
}

/**
 * All sessions of one engine: issues their ids, finds them, and ends them: closed, evicted (idle for too long,
 * or the least recently active one when a new session needs room and it has been idle for a while), or corrupt.
 */
export class SessionStore {
  readonly #sessions = new Map<string, Session>();
  readonly #host: SessionHost;
  #opening = 0;
  /** Places are taken and freed one after the other, so that a freed one is there for whoever waits for it. */
  #placeWork: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly engine: Engine,
    private readonly options: StoreOptions,
  ) {
    this.#host = { engine, now: options.now, maxWaitingCalls: options.maxWaitingCalls };
  }

  get sessions(): Iterable<Session> {
    return this.#sessions.values();
  }

  get activeCount(): number {
    return this.#sessions.size;
  }

  get capacity(): number {
    return this.engine.info.capacity;
  }

  /** Calls that wait for their session. */
  get queueDepth(): number {
    let depth = 0;
    for (const session of this.#sessions.values()) depth += session.waitingCalls;
    return depth;
  }

  /** Opens a session. @throws SessionError resource-exhausted when all are busy. */
  async create(eosTokenIds: Iterable<number>, label: string): Promise<Session> {
    this.#makeRoom();
    this.#opening++;
    try {
      const sequence = await this.#onPlaces(() => this.engine.create());
      const session = new Session(this.options.newId(), label, sequence, new Set(eosTokenIds), this.#host);
      this.#sessions.set(session.id, session);
      this.options.events.created(session);
      return session;
    } finally {
      this.#opening--;
    }
  }

  append(id: string, tokenIds: Uint32Array, signal?: AbortSignal): Promise<number> {
    return this.#call(id, signal, (session) => session.append(tokenIds, signal));
  }

  async *generate(id: string, options: GenerateOptions): AsyncGenerator<GenerationEvent, void> {
    const session = this.#find(id);
    try {
      yield* session.generate(options);
    } catch (error) {
      await this.#failed(session, error, options.signal);
      throw error;
    }
  }

  info(id: string, signal?: AbortSignal): Promise<SessionInfo> {
    return this.#call(id, signal, (session) => session.info(signal));
  }

  /** Answers with the final length of the history, when its place is free. */
  async close(id: string, signal?: AbortSignal): Promise<number> {
    const session = this.#find(id);
    const historyTokens = await session.close(signal);
    await this.#end(session, "closed");
    return historyTokens;
  }

  /** Evicts the sessions that have been idle longer than the TTL. */
  async evictIdle(): Promise<void> {
    const expired = [...this.#sessions.values()].filter((session) => this.#expired(session));
    await Promise.all(expired.map((session) => this.#evict(session, "idle")));
  }

  /** Ends all sessions, and frees their places. */
  async endAll(): Promise<void> {
    await Promise.all([...this.#sessions.values()].map((session) => this.#end(session, "shutdown")));
  }

  #find(id: string): Session {
    const session = this.#sessions.get(id);
    if (session === undefined) throw sessionNotFound(id);
    if (this.#expired(session)) {
      void this.#evict(session, "idle");
      throw sessionNotFound(id);
    }
    return session;
  }

  /** A generation whose reader stopped reading is idle too; a session that computes is not. */
  #expired(session: Session): boolean {
    return this.options.ttlS > 0 && !session.computing && this.#idleS(session) > this.options.ttlS;
  }

  #idleS(session: Session): number {
    return this.options.now() - session.activeAtS;
  }

  #makeRoom(): void {
    if (this.#sessions.size + this.#opening < this.capacity) return;
    let oldest: Session | undefined;
    for (const session of this.#sessions.values()) {
      if (session.idle && (oldest === undefined || session.activeAtS < oldest.activeAtS)) oldest = session;
    }
    const waitS = oldest === undefined ? undefined : this.options.evictAfterS - this.#idleS(oldest);
    if (oldest === undefined || waitS === undefined || waitS > 0) throw noRoom(this.capacity, waitS);
    void this.#evict(oldest, "capacity");
  }

  #evict(session: Session, reason: EvictionReason): Promise<void> {
    this.options.events.evicted(session, reason);
    return this.#end(session, "evicted");
  }

  async #call<T>(id: string, signal: AbortSignal | undefined, call: (session: Session) => Promise<T>): Promise<T> {
    const session = this.#find(id);
    try {
      return await call(session);
    } catch (error) {
      await this.#failed(session, error, signal);
      throw error;
    }
  }

  /** Ends the session when its cache cannot be trusted any more: corrupt, or left by the engine halfway. */
  async #failed(session: Session, error: unknown, signal: AbortSignal | undefined): Promise<void> {
    if (error instanceof InvariantViolated) {
      this.options.events.violated(session, error.violation);
      await this.#end(session, "violated");
    } else if (!(error instanceof SessionError || error === signal?.reason)) {
      await this.#end(session, "failed");
    }
  }

  async #end(session: Session, outcome: SessionOutcome): Promise<void> {
    session.end();
    if (!this.#sessions.delete(session.id)) return;
    this.options.events.ended(session, outcome);
    await this.#onPlaces(() => this.#free(session.sequence));
  }

  async #free(sequence: SequenceId): Promise<void> {
    try {
      await this.engine.free(sequence);
    } catch (error) {
      // A crashed engine took its sequences with it.
      if (!(error instanceof EngineCrashed)) throw error;
    }
  }

  #onPlaces<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#placeWork.then(work);
    this.#placeWork = result.catch(() => {});
    return result;
  }
}

/** @param waitS until the session that was idle the longest may be evicted; undefined when all have a call in flight */
function noRoom(capacity: number, waitS: number | undefined): SessionError {
  const why =
    waitS === undefined
      ? `all ${capacity} sessions have a call in flight; try again later`
      : `all ${capacity} sessions are in use; try again in ${Math.ceil(waitS)} s, when the least recently active one may be evicted`;
  return new SessionError("resource-exhausted", `${why}; or close one, or serve with a larger --capacity`);
}
