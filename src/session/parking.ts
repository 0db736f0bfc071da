import type { Engine, SequenceId } from "../engine/engine.ts";
import { StateError } from "../state/errors.ts";
import { differences, type Facts } from "../state/facts.ts";
import type {
  FleetState,
  Lease,
  RemovalCondition,
  Snapshot,
  StateStore,
  StoredSession,
  Taken,
} from "../state/store.ts";
import { kindOfState, SessionError } from "./errors.ts";
import { JournalWriter } from "./journal-writer.ts";
import type { Session, SessionHistory, SessionInfo, SessionRecord, SessionStart } from "./session.ts";
import { savedOf, sessionFacts, snapshotOf } from "./snapshots.ts";

/** What parking reports, for metrics and logs. */
export interface ParkingEvents {
  parked(session: Session): void;
  restored(session: StoredSession, restored: { durationS: number; replayedTokens: number }): void;
  /** The session came from a server whose lease had run out. */
  tookOver(id: string, from: string): void;
  /** Another server may have the session now. */
  lostLease(id: string): void;
  /** A problem that loses no ids: a snapshot is damaged, or could not be written. */
  warned(words: string): void;
}

export interface ParkingOptions {
  state: StateStore;
  /** How long a call waits for another server to give its session back, in seconds. */
  handOverWaitS?: number;
  /** Compute sessions again if another model, geometry or kind of device computed them. */
  rebuild: boolean;
  /** Idle time after which a session is removed, in seconds; 0: never. */
  ttlS: number;
  /** Monotonic clock, in seconds. */
  now: () => number;
  /** Wall clock, in milliseconds. */
  nowMs: () => number;
  events: ParkingEvents;
}

/** A snapshot is due when computing everything after the last one again would take this long, in seconds, */
const replayS = 2;
/** but not after fewer tokens. */
const leastTokens = 256;
/** A replay of fewer tokens does not tell how fast one is. */
const measuredTokens = 32;
/** Between two looks whether another server has given a session back, in seconds. */
const lookAgainS = 0.1;
/** Ids that are read at once to be computed again. */
const replayedAtOnce = 65_536;

/** Sessions on their way between memory and the state that outlives the process. */
export class Parking {
  readonly #journal: JournalWriter;
  /** Where the newest snapshot of each session in memory is. */
  readonly #snapshotAt = new Map<string, number>();
  /** One snapshot is written at a time, so that no more than one waits for the disk in memory. */
  #writing: Promise<void> = Promise.resolve();
  /** Sessions of which a snapshot is being taken because it was due. */
  readonly #taking = new Set<string>();
  /** Tokens after which a snapshot is due. */
  #dueTokens = leastTokens;

  constructor(
    private readonly engine: Engine,
    private readonly options: ParkingOptions,
  ) {
    this.#journal = new JournalWriter(options.state);
  }

  /** Writes a new session down; returns where its ids go. */
  async begin(session: { id: string; label: string; eosTokenIds: readonly number[] }): Promise<SessionRecord> {
    return this.#record(await this.#stated(() => this.#state.create({ ...session, facts: this.#facts })));
  }

  /** A new session with the first `at` ids of another one. */
  async fork(
    from: string,
    at: number,
    session: { id: string; label: string; eosTokenIds: readonly number[] },
  ): Promise<SessionRecord> {
    return this.#record(await this.#stated(() => this.#state.fork(from, at, session)));
  }

  /** The session that is not in memory; undefined when there is none, or it has been idle for too long. */
  async find(id: string): Promise<StoredSession | undefined> {
    const session = await this.#stated(() => this.#state.find(id));
    const { ttlS } = this.options;
    return session !== undefined && ttlS > 0 && this.#idleS(session) > ttlS ? undefined : session;
  }

  /**
   * The same, once no other live server has it: one that does is asked to give it back.
   * @throws SessionError unavailable, naming that server
   */
  async findFree(id: string): Promise<StoredSession | undefined> {
    const endsAtS = this.options.now() + (this.options.handOverWaitS ?? 0);
    for (;;) {
      const session = await this.find(id);
      if (session?.holder === undefined) return session;
      await this.#stated(() => this.#state.want(id));
      if (this.options.now() >= endsAtS) {
        throw new SessionError("unavailable", `another server has the session: ${session.holder}; try again`);
      }
      await Bun.sleep(lookAgainS * 1000);
    }
  }

  async info(session: StoredSession): Promise<SessionInfo> {
    return {
      parked: true,
      historyTokens: session.tokens,
      liveBytes: 0,
      slabBytes: 0,
      computedTokens: session.tokens,
      generatedTokens: session.generated,
      replayedTokens: session.replayed,
      draftedTokens: 0,
      acceptedDrafts: 0,
      idleS: this.#idleS(session),
      lastTokenId: await this.#lastTokenId(session),
    };
  }

  /**
   * Makes the session's sequence again: loads the newest good snapshot, and computes what came after it.
   * @param inPlace does its work when there is a place for the sequence
   */
  async restore(
    id: string,
    inPlace: (work: () => Promise<SequenceId>) => Promise<SequenceId>,
  ): Promise<SessionStart | undefined> {
    const startedAtS = this.options.now();
    const taken = await this.#stated(() => this.#state.acquire(id));
    if (taken === undefined) return undefined;
    const { lease, takenFrom } = taken;
    if (takenFrom !== undefined) this.options.events.tookOver(id, takenFrom);
    try {
      return await this.#restoreTaken(taken, inPlace, startedAtS);
    } catch (error) {
      // Another server may be able to do what this one can't.
      await this.release(lease);
      throw error;
    }
  }

  async #restoreTaken(
    { lease, session }: Taken,
    inPlace: (work: () => Promise<SequenceId>) => Promise<SequenceId>,
    startedAtS: number,
  ): Promise<SessionStart> {
    const { id } = session;
    const isForeign = this.#requireUsable(session);
    const snapshot = await this.#stated(() => this.#newestSnapshot(session));
    const from = snapshot?.position ?? 0;
    if (from < session.keptFrom) throw lost(session);
    const sequence = await inPlace(() => (snapshot === undefined ? this.engine.create() : this.#load(snapshot)));
    try {
      await this.#stated(() => this.#replay(sequence, session, from));
      const state = await this.engine.state(sequence);
      const replayedTokens = session.tokens - from;
      await this.#stated(() => this.#state.restored(lease, replayedTokens, isForeign ? this.#facts : undefined));
      this.#snapshotAt.set(id, from);
      this.options.events.restored(session, { durationS: this.options.now() - startedAtS, replayedTokens });
      const history: SessionHistory = {
        tokens: session.tokens,
        generatedTokens: session.generated,
        replayedTokens: session.replayed + replayedTokens,
        lastTokenId: await this.#lastTokenId(session),
        state,
      };
      const { label, eosTokenIds } = session;
      return { id, label, sequence, eosTokenIds, record: this.#record(lease), history };
    } catch (error) {
      await this.engine.free(sequence).catch(() => {});
      throw error;
    }
  }

  /**
   * Takes a session, which has left its store already, out of memory. Resolves when its place is free; what it resolves
   * to settles when its snapshot is on the disk.
   */
  async park(session: Session): Promise<{ written: Promise<void> }> {
    await this.#journal.flushed();
    await this.#writing;
    if (this.#snapshotAt.get(session.id) !== session.historyTokens) {
      await this.#save(session).catch((error: unknown) => this.#notWritten(error));
    }
    await this.engine.free(session.sequence);
    this.#snapshotAt.delete(session.id);
    this.options.events.parked(session);
    return { written: this.#writing };
  }

  /** The session has left memory without a snapshot. */
  dropped(id: string): void {
    this.#snapshotAt.delete(id);
  }

  /** Lets any server have the session, which is not in memory any more. */
  async release(lease: Lease | undefined): Promise<void> {
    if (lease === undefined) return;
    await this.#state.release(lease).catch((error: unknown) => {
      const words = error instanceof Error ? error.message : String(error);
      this.options.events.warned(`a session was not given back, so other servers have to ask for it: ${words}`);
    });
  }

  /** What several servers have to tell each other; undefined where there is only one. */
  async fleet(): Promise<FleetState | undefined> {
    return await this.#state.fleet();
  }

  lostLease(id: string): void {
    this.options.events.lostLease(id);
  }

  /** Removes a session with all that is kept of it. @throws SessionError unavailable when another server has it */
  async remove(id: string, only?: RemovalCondition): Promise<void> {
    this.#snapshotAt.delete(id);
    await this.#stated(() => this.#state.remove(id, only));
  }

  /** Removes a session that has been idle for too long, unless that has changed. */
  async removeExpired(id: string): Promise<void> {
    await this.remove(id, { inactiveSinceMs: this.#expiredMs });
  }

  /** Ids of sessions that have been idle for too long, in memory or not. */
  async expired(): Promise<string[]> {
    const { ttlS } = this.options;
    return ttlS === 0 ? [] : await this.#state.inactiveSince(this.#expiredMs);
  }

  /** Resolves when the last snapshot is on the disk. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  get #expiredMs(): number {
    return this.options.nowMs() - this.options.ttlS * 1000;
  }

  get #state(): StateStore {
    return this.options.state;
  }

  get #facts(): Facts {
    return sessionFacts(this.engine.info.facts);
  }

  #idleS({ activeMs }: StoredSession): number {
    return Math.max(0, this.options.nowMs() - activeMs) / 1000;
  }

  #record(lease: Lease): SessionRecord {
    return {
      lease,
      write: (entry) => this.#journal.write(entry),
      ids: (from, to) => this.#stated(() => this.#state.ids(lease.id, from, to)),
      written: (session) => void this.#snapshotIfDue(session),
      measured: (tokens, durationS) => {
        if (tokens >= measuredTokens) this.#dueTokens = Math.max(leastTokens, (tokens / durationS) * replayS);
      },
    };
  }

  /**
   * Whether the session has to be computed again from its first id.
   * @throws SessionError when it can't be, or may not be without --rebuild
   */
  #requireUsable(session: StoredSession): boolean {
    const changed = differences(session.facts, this.#facts);
    if (changed.length === 0) return false;
    const words = `the session's ${session.tokens} tokens were computed with something else: ${changed.join("; ")}`;
    if (!this.options.rebuild) {
      throw new SessionError(
        "failed-precondition",
        `${words}. Serve it as it was, or with --rebuild, which computes all its tokens again`,
      );
    }
    if (session.keptFrom > 0) {
      const dropped = `its ids before position ${session.keptFrom} were dropped (--keep-ids), so it can't be rebuilt`;
      throw new SessionError("failed-precondition", `${words}, and ${dropped}. Serve it as it was`);
    }
    return true;
  }

  async #lastTokenId({ id, tokens, keptFrom }: StoredSession): Promise<number | undefined> {
    if (keptFrom >= tokens) return undefined;
    return (await this.#stated(() => this.#state.ids(id, tokens - 1, tokens)))[0];
  }

  async #newestSnapshot(session: StoredSession): Promise<Snapshot | undefined> {
    const { facts } = this.engine.info;
    const { snapshot, setAside } = await this.#state.loadSnapshot(session.id, { ...facts }, session.tokens);
    for (const words of setAside) this.options.events.warned(words);
    return snapshot;
  }

  async #load(snapshot: Snapshot): Promise<SequenceId> {
    return await this.engine.load(savedOf(snapshot, this.engine.info.facts));
  }

  async #replay(sequence: SequenceId, session: StoredSession, from: number): Promise<void> {
    for (let at = from; at < session.tokens; at += replayedAtOnce) {
      const end = Math.min(at + replayedAtOnce, session.tokens);
      await this.engine.append(sequence, await this.#state.ids(session.id, at, end));
    }
  }

  async #snapshotIfDue(session: Session): Promise<void> {
    const last = this.#snapshotAt.get(session.id) ?? 0;
    if (session.historyTokens - last < this.#dueTokens || this.#taking.has(session.id)) return;
    this.#taking.add(session.id);
    try {
      await this.#writing;
      await this.#save(session);
    } catch {
      // It has left memory meanwhile, with a snapshot of its own.
    } finally {
      this.#taking.delete(session.id);
    }
  }

  /** Resolves when the snapshot is taken, between two steps; `#writing` then says when it is on the disk. */
  async #save(session: Session): Promise<void> {
    const { id, lease } = session;
    if (lease === undefined) return;
    const snapshot = snapshotOf(await this.engine.save(session.sequence));
    // Its ids were reported before it was taken, and must be in the journal before it.
    await this.#journal.flushed();
    this.#snapshotAt.set(id, snapshot.position);
    this.#writing = this.#state.saveSnapshot(lease, snapshot).catch((error: unknown) => this.#notWritten(error));
  }

  #notWritten(error: unknown): void {
    const words = error instanceof Error ? error.message : String(error);
    this.options.events.warned(`a snapshot was not written, so its session will take longer to restore: ${words}`);
  }

  /** Turns the state's error into one that says what the caller can do. */
  async #stated<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof StateError)) throw error;
      const kind = kindOfState(error.kind);
      throw kind === undefined ? error : new SessionError(kind, error.message);
    }
  }
}

function lost(session: StoredSession): SessionError {
  const words = `no snapshot of the session is whole, and its ids before position ${session.keptFrom} were dropped`;
  return new SessionError("data-loss", `${words} (--keep-ids): restore the state folder from a backup`);
}
