/**
 * What outlives the process, as sessions see it: who they are, all their ids, and checkpoints of their caches. The ids
 * are the truth; a snapshot only saves computing them again. Two tables' worth of operations and a place for snapshots,
 * so that a database on another machine can serve as well as a folder.
 *
 * Every method rejects with StateError. A call that resolved is kept; one that rejected has changed nothing.
 */

import type { Facts } from "./facts.ts";

/**
 * The right to write a session. Taking a session over raises its epoch, so that the one who held it before can't write
 * any more, however late it learns of that (a fencing token).
 */
export interface Lease {
  readonly id: string;
  readonly epoch: number;
  /** The server that has it, by its number; absent where only one server can. */
  readonly server?: number;
}

export interface NewSession {
  /** Nobody can guess it: whoever knows it can use the session. */
  id: string;
  /** The client's own words. */
  label: string;
  eosTokenIds: readonly number[];
  /** What its ids are computed with. */
  facts: Facts;
}

export interface StoredSession extends NewSession {
  createdMs: number;
  /** When ids last came, or when the session was last taken. */
  activeMs: number;
  /** Ids in the journal: the length of the history. */
  tokens: number;
  /** How many of them were generated. */
  generated: number;
  /** Ids that were computed again to restore it, over its whole life. */
  replayed: number;
  /** Position of the first id that is still there; above 0 where the journal is bounded. */
  keptFrom: number;
  /** Bytes of its snapshots on the disk. */
  snapshotBytes: number;
  /** Another live server that has the session, in words; absent: none. */
  holder?: string;
}

/** A session that was taken. */
export interface Taken {
  lease: Lease;
  session: StoredSession;
  /** The server whose lease had run out, in words; absent: it was this one's, or nobody's. */
  takenFrom?: string;
}

/** Which session may be removed; otherwise none is. */
export interface RemovalCondition {
  /** Only while it is held by this lease. */
  lease?: Lease;
  /** Only if no id has come since. */
  inactiveSinceMs?: number;
}

/** What several servers over one state have to tell each other. */
export interface FleetState {
  /** This server's number; a lease of another number is void. */
  server: number;
  /** Sessions of this server that others have calls for. */
  wanted: readonly Lease[];
  connected: boolean;
}

/** Ids that continue a session's history. */
export interface JournalEntry {
  lease: Lease;
  /** The position of the first id: the number of tokens in the journal so far. */
  position: number;
  ids: Uint32Array;
  /** How many of `ids` were generated; the others were appended. */
  generated: number;
}

/** All that the engine holds of a session, when its history had `position` tokens. */
export interface Snapshot {
  facts: Facts;
  position: number;
  /** What else the engine needs to load it: counts, not compared. */
  counts: Facts;
  /** Only the engine reads it; 100 KB to 250 MB. */
  body: readonly Uint8Array[];
}

export interface LoadedSnapshot {
  /** The newest good one; absent: compute all ids again. */
  snapshot?: Snapshot;
  /** For people: the snapshots that were damaged and have been set aside, and why. */
  setAside: string[];
}

export interface StateSizes {
  sessions: number;
  journalBytes: number;
  snapshotBytes: number;
}

/** What can be read from a state that somebody else is writing. */
export type StateReader = Pick<StateStore, "find" | "list" | "ids" | "loadSnapshot" | "sizes"> & AsyncDisposable;

export interface StateStore {
  /** @throws StateError exists */
  create(session: NewSession): Promise<Lease>;
  /**
   * Takes a session: whoever held it before can't write it any more. Resolves to undefined when there is none.
   * @throws StateError held, by another live server
   */
  acquire(id: string): Promise<Taken | undefined>;
  /** Gives a session back, so that any server can take it; nothing happens when the lease is void. */
  release(lease: Lease): Promise<void>;
  /** Asks the server that holds the session to give it back when it can. */
  want(id: string): Promise<void>;
  /** Answers from memory. Undefined where only one server can use the state. */
  fleet(): Promise<FleetState | undefined>;
  find(id: string): Promise<StoredSession | undefined>;
  /** All sessions, the most recently active first. */
  list(): Promise<StoredSession[]>;
  /** Ids of the sessions to which no id has come since, and that no other live server has. */
  inactiveSince(ms: number): Promise<string[]>;
  /**
   * Notes that `replayed` more ids were replayed and, if `facts` are given, that the session's ids are computed with
   * these from now on.
   */
  restored(lease: Lease, replayedTokens: number, facts?: Facts): Promise<void>;
  /**
   * Removes the session with all its ids and snapshots; false when there is none, or it was active meanwhile.
   * @throws StateError held, lost-lease
   */
  remove(id: string, only?: RemovalCondition): Promise<boolean>;

  /**
   * All entries or none, in one transaction: the ids of one step of many sessions.
   * @throws StateError out-of-order when an entry leaves a gap or overlaps; lost-lease
   */
  commit(entries: readonly JournalEntry[]): Promise<void>;
  /** The ids at positions [from, to). @throws StateError damaged when the disk gives back others; not-found */
  ids(id: string, from: number, to: number): Promise<Uint32Array>;

  /** The buffers under `body` are transferred: the caller can't use them any more. */
  saveSnapshot(lease: Lease, snapshot: Snapshot): Promise<void>;
  /** The newest good snapshot of these facts, or of any, that holds at most `atMost` tokens. */
  loadSnapshot(id: string, facts: Facts | undefined, atMost: number): Promise<LoadedSnapshot>;

  /** A new session with the first `at` ids of another one, and its newest snapshot up to there. */
  fork(from: string, at: number, session: Omit<NewSession, "facts">): Promise<Lease>;

  /**
   * Imports a session from elsewhere, with its ids from `keptFrom` on and the snapshot that those need, if any.
   * @throws StateError exists
   */
  adopt(session: StoredSession, ids: Uint32Array, snapshot?: Snapshot): Promise<void>;

  sizes(): Promise<StateSizes>;
  close(): Promise<void>;
}
