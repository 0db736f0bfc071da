import { type Engine, EngineCrashed } from "../engine/engine.ts";
import { StateError } from "../state/errors.ts";
import type { FleetState, StateSizes, StoredSession } from "../state/store.ts";
import { InvariantViolated, NotRecorded, SessionError, SessionLeft, sessionNotFound } from "./errors.ts";
import type { Violation } from "./invariants.ts";
import { Parking, type ParkingEvents, type ParkingOptions } from "./parking.ts";
import { type Occupants, Places } from "./places.ts";
import {
  type GenerateOptions,
  type GenerationEvent,
  type Placed,
  Session,
  type SessionHistory,
  type SessionHost,
  type SessionInfo,
  type SessionRecord,
  type SessionStart,
} from "./session.ts";

export type EvictionReason = "capacity" | "idle";

/** How a session's life ended. */
export type SessionOutcome = "closed" | "evicted" | "violated" | "failed" | "shutdown";

/** What the store reports of its sessions' lives, for metrics and logs. */
export interface SessionEvents extends ParkingEvents {
  created(session: Session): void;
  evicted(session: Session, reason: EvictionReason): void;
  violated(session: Session, violation: Violation): void;
  ended(session: Session, outcome: SessionOutcome): void;
  /** A step ran guesses, of which `accepted` were right. */
  guessed(drafted: number, accepted: number): void;
}

export interface StoreOptions {
  /** Idle time after which a session is evicted, in seconds; 0: never. */
  ttlS: number;
  /**
   * Idle time after which a session may make room for a new one, in seconds. With parking, an idle session makes room
   * at once, and this is the time for a session whose reader does not read.
   */
  evictAfterS: number;
  maxWaitingCalls: number;
  /** Monotonic clock, in seconds. */
  now: () => number;
  /** A new session's unguessable id. */
  newId: () => string;
  events: SessionEvents;
  /** Where sessions go when they leave memory; absent: they are gone. */
  parking?: Pick<ParkingOptions, "state" | "rebuild" | "nowMs" | "handOverWaitS">;
}

/**
 * All sessions of one engine: issues their ids, finds them, and ends them: closed, evicted (idle for too long, or the
 * least recently active one when another needs room), or corrupt. With a place to park them, those that make room for
 * others only leave memory, and their next call brings them back.
 */
export class SessionStore {
  readonly #sessions = new Map<string, Session>();
  readonly #host: SessionHost;
  readonly #parking: Parking | undefined;
  /** Sessions that are being brought back, and those that are still on their way out. */
  readonly #arriving = new Map<string, Promise<Session>>();
  readonly #leaving = new Map<string, Promise<unknown>>();
  readonly #places: Places;
  /** Ids of sessions that are being created. */
  readonly #beginning = new Set<string>();

  constructor(
    private readonly engine: Engine,
    private readonly options: StoreOptions,
  ) {
    const { now, maxWaitingCalls, ttlS, events, parking } = options;
    this.#host = { engine, now, maxWaitingCalls, onIdle: () => this.#places.mayBeFree(), onGuesses: events.guessed };
    this.#parking = parking && new Parking(engine, { ...parking, now, ttlS, events });
    this.#places = new Places(this.#occupants(), engine.info.capacity * maxWaitingCalls);
  }

  /** Those in memory. */
  get sessions(): Iterable<Session> {
    return this.#sessions.values();
  }

  get activeCount(): number {
    return this.#sessions.size;
  }

  get capacity(): number {
    return this.engine.info.capacity;
  }

  /** Whether a session can be forked before its end. */
  get forksAnywhere(): boolean {
    return this.#parking !== undefined;
  }

  /** What several servers over one state have to tell each other; absent where sessions are kept nowhere. */
  get fleet(): (() => Promise<FleetState | undefined>) | undefined {
    const state = this.options.parking?.state;
    return state && (() => state.fleet());
  }

  /** What is kept of all sessions, in memory or not; absent where nothing is. */
  get stateSizes(): (() => Promise<StateSizes>) | undefined {
    const state = this.options.parking?.state;
    return state && (() => state.sizes());
  }

  /** Calls that wait for their session, or for a place. */
  get queueDepth(): number {
    let depth = this.#places.waiting;
    for (const session of this.#sessions.values()) depth += session.waitingCalls;
    return depth;
  }

  /**
   * Opens a session. One that its owner can compute again, who calls it at once, gives way to others without delay
   * whenever it is idle; and it waits for a place where another one of its kind has it.
   * @throws SessionError resource-exhausted when all are busy, already-exists
   */
  create(
    eosTokenIds: Iterable<number>,
    label: string,
    owner: "client" | "rebuilder" = "client",
    id = this.options.newId(),
  ): Promise<Session> {
    const isRebuildable = owner === "rebuilder";
    return this.#places.inNew(
      async () => {
        if (this.#sessions.has(id) || this.#beginning.has(id)) throw alreadyExists(id);
        this.#beginning.add(id);
        const start = {
          id,
          label,
          eosTokenIds: [...new Set(eosTokenIds)],
          ...(isRebuildable && { isRebuildable, expected: true }),
        };
        try {
          const record = await this.#parking?.begin(start);
          return await this.#begun(start, record);
        } finally {
          this.#beginning.delete(id);
        }
      },
      isRebuildable || this.#parking !== undefined,
    );
  }

  append(id: string, tokenIds: Uint32Array, signal?: AbortSignal, placed?: Placed): Promise<number> {
    return this.#call(id, signal, (session) => session.append(tokenIds, signal, placed));
  }

  async *generate(id: string, options: GenerateOptions): AsyncGenerator<GenerationEvent, void> {
    for (;;) {
      const session = this.#present(id) ?? (await this.#brought(id));
      try {
        return yield* session.generate(options);
      } catch (error) {
        if (error instanceof SessionLeft) continue;
        await this.#failed(session, error, options.signal);
        throw error;
      }
    }
  }

  /** A session that is not in memory stays where it is. */
  async info(id: string, signal?: AbortSignal): Promise<SessionInfo> {
    const stored = this.#present(id) === undefined ? await this.#away(id) : undefined;
    if (stored !== undefined && this.#parking) return this.#parking.info(stored);
    return await this.#call(id, signal, (session) => session.info(signal));
  }

  /**
   * A new session with the first `at` tokens of another one; absent: all of them.
   * @throws SessionError invalid-argument when there are fewer; failed-precondition when they are gone
   */
  async fork(id: string, at?: number, signal?: AbortSignal): Promise<string> {
    const stored = this.#present(id) === undefined ? await this.#away(id) : undefined;
    if (stored !== undefined) return await this.#forkAway(stored, at ?? stored.tokens);
    return await this.#call(id, signal, (session) =>
      session.history((history) => this.#fork(session, history, at), signal),
    );
  }

  /** Returns the final length of the history once its place is free. */
  async close(id: string, signal?: AbortSignal): Promise<number> {
    const stored = this.#present(id) === undefined ? await this.#away(id) : undefined;
    if (stored !== undefined) {
      await this.#leave(id, () => this.#parking?.remove(id));
      return stored.tokens;
    }
    return await this.#call(id, signal, async (session) => {
      const historyTokens = await session.close(signal);
      await this.#end(session, "closed");
      return historyTokens;
    });
  }

  /** Evicts the sessions that have been idle longer than the TTL. */
  async evictIdle(): Promise<void> {
    const expired = [...this.#sessions.values()].filter((session) => this.#expired(session));
    await Promise.all(expired.map((session) => this.#evict(session, "idle")));
    for (const id of (await this.#parking?.expired()) ?? []) {
      // One in memory counts its own idle time.
      if (this.#sessions.has(id) || this.#arriving.has(id)) continue;
      await this.#leave(id, () => this.#parking?.removeExpired(id));
    }
    // Nothing reports a reader that does not read.
    this.#places.look();
  }

  /**
   * Where several servers share the state: gives sessions back that others have calls for, as soon as they are idle,
   * and forgets those whose lease has run out. A session that has a call in flight finds out when it writes.
   */
  async handOver(): Promise<void> {
    const fleet = await this.#parking?.fleet();
    if (fleet === undefined || this.#parking === undefined) return;
    for (const session of this.#sessions.values()) {
      if (!session.idle || session.lease?.server === fleet.server) continue;
      this.#parking.lostLease(session.id);
      await this.#lose(session, "failed");
    }
    for (const lease of fleet.wanted) {
      const session = this.#sessions.get(lease.id);
      if (session?.idle && session.lease?.epoch === lease.epoch) await this.#park(session, this.#parking);
      const isHere = session !== undefined || this.#arriving.has(lease.id) || this.#leaving.has(lease.id);
      if (!isHere) await this.#parking.release(lease);
    }
  }

  /** Ends all sessions, and frees their places; with a place to park them, they are parked. */
  async endAll(): Promise<void> {
    this.#places.end();
    const parking = this.#parking;
    // As they are at each step: others may leave meanwhile, and are waited for.
    for (const session of this.#sessions.values()) {
      if (parking === undefined) await this.#end(session, "shutdown");
      else await this.#park(session, parking);
    }
    await Promise.allSettled(this.#leaving.values());
    await parking?.settled();
  }

  /** The session, when it is in memory. */
  #present(id: string): Session | undefined {
    const session = this.#sessions.get(id);
    if (session === undefined && this.#parking === undefined) throw sessionNotFound(id);
    if (session !== undefined && this.#expired(session)) {
      void this.#evict(session, "idle");
      throw sessionNotFound(id);
    }
    return session;
  }

  /** What is stored of a session that is not in memory, nor on its way there. @throws SessionError not-found */
  async #away(id: string): Promise<StoredSession | undefined> {
    await this.#leaving.get(id);
    if (this.#arriving.has(id)) return undefined;
    const stored = await this.#parking?.findFree(id);
    if (this.#sessions.has(id) || this.#arriving.has(id)) return undefined;
    if (stored === undefined) throw sessionNotFound(id);
    return stored;
  }

  /** Brings the session back into memory. All calls that ask for it at the same time get the same one. */
  #brought(id: string): Promise<Session> {
    const arriving =
      this.#arriving.get(id) ??
      this.#restored(id).finally(() => {
        this.#arriving.delete(id);
      });
    this.#arriving.set(id, arriving);
    return arriving;
  }

  async #restored(id: string): Promise<Session> {
    await this.#leaving.get(id);
    if ((await this.#parking?.findFree(id)) === undefined) throw sessionNotFound(id);
    return await this.#places.inNew(async () => {
      const start = await this.#parking?.restore(id, (work) => this.#places.inOrder(work));
      if (start === undefined) throw sessionNotFound(id);
      return this.#add({ ...start, expected: true });
    }, true);
  }

  async #fork(source: Session, history: SessionHistory, at = history.tokens): Promise<string> {
    if (at > history.tokens) throw beyondEnd(at, history.tokens);
    if (this.#parking === undefined && at < history.tokens) {
      const words = `the history's first ${at} of ${history.tokens} tokens are only kept by a server with --state`;
      throw new SessionError("failed-precondition", `${words}: fork at its end`);
    }
    const { label, eosTokenIds } = source;
    const fork = { id: this.options.newId(), label, eosTokenIds };
    const record = await this.#parking?.fork(source.id, at, fork);
    // If it would have to wait for a place, its first call can wait instead.
    if (record !== undefined && (at < history.tokens || !this.#places.canMakeRoom)) {
      await this.#parking?.release(record.lease);
      return fork.id;
    }
    const { id } = await this.#places.inNew(async () => {
      const sequence = await this.#places.inOrder(() => this.engine.fork(source.sequence));
      return this.#opened({ ...fork, history, sequence, ...(record && { record }) });
    }, this.#parking !== undefined);
    return id;
  }

  async #forkAway(source: StoredSession, at: number): Promise<string> {
    if (at > source.tokens) throw beyondEnd(at, source.tokens);
    const { label, eosTokenIds } = source;
    const id = this.options.newId();
    const record = await this.#parking?.fork(source.id, at, { id, label, eosTokenIds });
    await this.#parking?.release(record?.lease);
    return id;
  }

  async #begun(start: Omit<SessionStart, "sequence">, record: SessionRecord | undefined): Promise<Session> {
    try {
      const sequence = await this.#places.inOrder(() => this.engine.create());
      return this.#opened({ ...start, sequence, ...(record && { record }) });
    } catch (error) {
      await this.#parking?.remove(start.id, record).catch(() => {});
      throw error;
    }
  }

  #opened(start: SessionStart): Session {
    const session = this.#add(start);
    this.options.events.created(session);
    this.#places.mayBeFree();
    return session;
  }

  #add(start: SessionStart): Session {
    const session = new Session(start, this.#host);
    this.#sessions.set(session.id, session);
    return session;
  }

  /** A generation whose reader stopped reading is idle too; a session that computes is not. */
  #expired(session: Session): boolean {
    return this.options.ttlS > 0 && !session.computing && this.#idleS(session) > this.options.ttlS;
  }

  #idleS(session: Session): number {
    return this.options.now() - session.activeAtS;
  }

  #occupants(): Occupants {
    const store = this;
    return {
      get count() {
        return store.#sessions.size;
      },
      capacity: store.capacity,
      get canGiveWay() {
        return store.#leastRecentlyActive() !== undefined;
      },
      /** Those that can be parked, or computed again, do so as soon as they are idle. */
      get willGiveWay() {
        return store.#parking !== undefined || [...store.#sessions.values()].some((session) => session.isRebuildable);
      },
      giveWay: () => store.#giveWay(),
      noRoom: () => {
        const oldest = store.#leastRecentlyActive();
        return noRoom(store.capacity, oldest && store.options.evictAfterS - store.#idleS(oldest));
      },
    };
  }

  #giveWay(): boolean {
    const oldest = this.#leastRecentlyActive();
    if (this.#parking === undefined) return this.#evictIfAllowed(oldest);
    if (oldest !== undefined) void this.#park(oldest, this.#parking);
    return oldest !== undefined;
  }

  /** Where sessions can be parked, one whose reader has not read for long may leave as well: its ids are kept. */
  #leastRecentlyActive(isCandidate = (_: Session) => true): Session | undefined {
    const stalledS = this.#parking === undefined ? Number.POSITIVE_INFINITY : this.options.evictAfterS;
    let oldest: Session | undefined;
    for (const session of this.#sessions.values()) {
      const mayLeave = session.idle || (!session.computing && this.#idleS(session) > stalledS);
      if (mayLeave && isCandidate(session) && (oldest === undefined || session.activeAtS < oldest.activeAtS))
        oldest = session;
    }
    return oldest;
  }

  #evictIfAllowed(oldest: Session | undefined): boolean {
    const rebuildable = this.#leastRecentlyActive((session) => session.isRebuildable);
    const isDue = oldest !== undefined && this.#idleS(oldest) >= this.options.evictAfterS;
    const evicted = rebuildable ?? (isDue ? oldest : undefined);
    if (evicted !== undefined) void this.#evict(evicted, "capacity");
    return evicted !== undefined;
  }

  async #evict(session: Session, reason: EvictionReason): Promise<void> {
    this.options.events.evicted(session, reason);
    try {
      await this.#end(session, "evicted");
    } catch (error) {
      // Nobody waits for it. If it is still there, whoever has it then finds that it has been idle for too long.
      if (!(error instanceof SessionError || error instanceof StateError)) throw error;
      this.options.events.warned(`an idle session was not removed: ${error.message}`);
    }
  }

  /** Takes an idle session out of memory; its next call waits until it has left. */
  #park(session: Session, parking: Parking): Promise<void> {
    this.#sessions.delete(session.id);
    const left = session.leave();
    const parked = this.#places.inOrder(async () => {
      await left;
      return await parking.park(session);
    });
    return this.#leave(session.id, async () => {
      const { written } = await parked;
      this.#places.mayBeFree();
      await written;
      await parking.release(session.lease);
    });
  }

  /** While `work` goes on, calls that come for the session wait. */
  async #leave(id: string, work: () => Promise<unknown> | undefined): Promise<void> {
    const before = this.#leaving.get(id);
    const leaving = (async () => {
      await before;
      await work();
    })().catch((error: unknown) => {
      // A crashed engine took its sequences with it, but the state still has theirs.
      if (!(error instanceof EngineCrashed)) throw error;
    });
    this.#leaving.set(id, leaving);
    try {
      await leaving;
    } finally {
      if (this.#leaving.get(id) === leaving) this.#leaving.delete(id);
    }
  }

  async #call<T>(id: string, signal: AbortSignal | undefined, call: (session: Session) => Promise<T>): Promise<T> {
    for (;;) {
      const session = this.#present(id) ?? (await this.#brought(id));
      try {
        return await call(session);
      } catch (error) {
        if (error instanceof SessionLeft) continue;
        await this.#failed(session, error, signal);
        throw error;
      }
    }
  }

  /** Ends the session when its cache can't be trusted any more: it is corrupt, or the engine left it half done. */
  async #failed(session: Session, error: unknown, signal: AbortSignal | undefined): Promise<void> {
    if (error instanceof InvariantViolated) {
      this.options.events.violated(session, error.violation);
      await this.#lose(session, "violated");
    } else if (error instanceof NotRecorded) {
      if (error.cause instanceof StateError && error.cause.kind === "lost-lease") this.#parking?.lostLease(session.id);
      await this.#lose(session, "failed");
    } else if (!(error instanceof SessionError || error === signal?.reason)) {
      await this.#lose(session, "failed");
    }
  }

  /** The session's sequence is useless now; if its ids are kept, they bring it back. */
  async #lose(session: Session, outcome: SessionOutcome): Promise<void> {
    const parking = this.#parking;
    if (parking === undefined) return await this.#end(session, outcome);
    if (!this.#sessions.delete(session.id)) return;
    parking.dropped(session.id);
    const left = session.leave();
    const freed = this.#freed(session, left);
    await this.#leave(session.id, async () => {
      await freed;
      await parking.release(session.lease);
    });
  }

  async #end(session: Session, outcome: SessionOutcome): Promise<void> {
    session.end();
    if (!this.#sessions.delete(session.id)) return;
    this.#places.mayBeFree();
    this.options.events.ended(session, outcome);
    const freed = this.#freed(session);
    await this.#leave(session.id, async () => {
      await freed;
      await this.#parking?.remove(session.id, session.lease && { lease: session.lease });
    });
  }

  async #freed({ sequence }: Session, left?: Promise<void>): Promise<void> {
    await this.#places.inOrder(async () => {
      await left;
      await this.engine.free(sequence);
    });
    this.#places.mayBeFree();
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

function alreadyExists(id: string): SessionError {
  return new SessionError("already-exists", `there is a session "${id}" already: choose another id`);
}

function beyondEnd(at: number, tokens: number): SessionError {
  return new SessionError("invalid-argument", `the history has ${tokens} tokens, so it can't be forked at ${at}`);
}
