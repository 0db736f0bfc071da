/** State in a folder: SQLite for sessions and ids, plain files for snapshots. */

import type { Database } from "bun:sqlite";
import { mkdirSync, statSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { removeDeadParts } from "../files/part.ts";
import { openDatabase, openDatabaseToRead, type Sync } from "./database.ts";
import { StateError, stateErrorOf } from "./errors.ts";
import type { Facts } from "./facts.ts";
import { journalName, lockFolder, privateFolder, requireStateFolder, snapshotsName } from "./folder.ts";
import { Generations } from "./generations.ts";
import { Journal } from "./journal.ts";
import { type SessionRow, SessionRows } from "./session-rows.ts";
import type {
  JournalEntry,
  Lease,
  LoadedSnapshot,
  NewSession,
  RemovalCondition,
  Snapshot,
  StateReader,
  StateSizes,
  StateStore,
  StoredSession,
  Taken,
} from "./store.ts";

export interface SqliteOptions {
  dir: string;
  sync: Sync;
  /**
   * How many ids a session keeps at least. Older ones are dropped once two snapshots hold what they led to. Absent: all
   * are kept.
   */
  keepIds?: number;
  /** Wall clock, in milliseconds. */
  nowMs?: () => number;
}

export class SqliteStore implements StateStore {
  readonly #rows: SessionRows;
  readonly #journal: Journal;
  /** Snapshots are written and removed one after the other, so that a late write leaves no file of a removed session. */
  #snapshotWork: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly database: Database,
    private readonly generations: Generations,
    private readonly lock: Disposable,
    private readonly options: SqliteOptions,
  ) {
    this.#rows = new SessionRows(database);
    this.#journal = new Journal(database);
  }

  /**
   * Opens the folder for one server; a killed one leaves it as usable as a stopped one.
   * @throws StateError unusable, in-use, newer, damaged, full
   */
  static async open(options: SqliteOptions): Promise<SqliteStore> {
    const { dir } = options;
    privateFolder(dir);
    const lock = lockFolder(dir, () => serverOf(dir) ?? "another process");
    let database: Database | undefined;
    try {
      database = openDatabase(dir, options.sync);
      database.transaction((words: string) => {
        database?.run("DELETE FROM server");
        database?.run("INSERT INTO server VALUES (?)", [words]);
      })(`process ${process.pid} on ${hostname()}`);
      return new SqliteStore(database, new Generations(snapshotsIn(dir)), lock, options);
    } catch (error) {
      database?.close();
      lock[Symbol.dispose]();
      throw stateErrorOf(dir, error);
    }
  }

  /**
   * Opens the folder to read it, with a server running on it or not.
   * @throws StateError unusable, newer
   */
  static async toRead(dir: string): Promise<StateReader> {
    requireStateFolder(dir);
    return SqliteStore.#beside(dir, openDatabaseToRead);
  }

  /**
   * Opens the folder to import sessions, which a server running on it does not know yet.
   * @throws StateError unusable, newer, damaged, full
   */
  static async toImport(dir: string): Promise<SqliteStore> {
    privateFolder(dir);
    return SqliteStore.#beside(dir, () => openDatabase(dir, "full"));
  }

  static #beside(dir: string, openJournal: (dir: string) => Database): SqliteStore {
    try {
      const database = openJournal(dir);
      const generations = new Generations(snapshotsIn(dir), { readOnly: true });
      return new SqliteStore(database, generations, { [Symbol.dispose]: () => {} }, { dir, sync: "full" });
    } catch (error) {
      throw stateErrorOf(dir, error);
    }
  }

  create(session: NewSession): Promise<Lease> {
    return this.#do(() =>
      this.#transaction(() => {
        const row = this.#insert(session);
        this.generations.begin(row.key);
        return leaseOf(row);
      }),
    );
  }

  acquire(id: string): Promise<Taken | undefined> {
    return this.#do(async () => {
      const found = this.#transaction(() => {
        const row = this.#rows.find(id);
        if (row === undefined) return undefined;
        const taken = { ...row, epoch: row.epoch + 1, activeMs: this.#nowMs() };
        this.#rows.update(taken);
        return taken;
      });
      if (found === undefined) return undefined;
      await this.generations.dropBeyond(found.key, found.tokens);
      return { lease: leaseOf(found), session: storedOf(found) };
    });
  }

  /** The folder is one server's. */
  async release(_lease: Lease): Promise<void> {}

  async want(_id: string): Promise<void> {}

  async fleet(): Promise<undefined> {}

  find(id: string): Promise<StoredSession | undefined> {
    return this.#do(() => {
      const row = this.#rows.find(id);
      return row && storedOf(row);
    });
  }

  list(): Promise<StoredSession[]> {
    return this.#do(() => this.#rows.all().map(storedOf));
  }

  inactiveSince(ms: number): Promise<string[]> {
    return this.#do(() => this.#rows.inactiveSince(ms));
  }

  restored(lease: Lease, replayedTokens: number, facts?: Facts): Promise<void> {
    return this.#do(() =>
      this.#transaction(() => {
        const row = this.#held(lease);
        this.#rows.update({ ...row, replayed: row.replayed + replayedTokens, facts: facts ?? row.facts });
      }),
    );
  }

  remove(id: string, { lease, inactiveSinceMs }: RemovalCondition = {}): Promise<boolean> {
    return this.#onSnapshots(async () => {
      const row = this.#rows.find(id);
      if (row === undefined) return false;
      if (lease !== undefined) this.#held(lease);
      if (inactiveSinceMs !== undefined && row.activeMs >= inactiveSinceMs) return false;
      await this.#remove(row);
      return true;
    });
  }

  commit(entries: readonly JournalEntry[]): Promise<void> {
    return this.#do(() =>
      this.#transaction(() => {
        const activeMs = this.#nowMs();
        for (const { lease, position, ids, generated } of entries) {
          const row = this.#held(lease);
          if (row.tokens !== position) throw outOfOrder(row, position);
          this.#journal.append(row.key, position, ids);
          const tokens = position + ids.length;
          this.#rows.update({ ...row, activeMs, tokens, generated: row.generated + generated });
        }
      }),
    );
  }

  ids(id: string, from: number, to: number): Promise<Uint32Array> {
    // One consistent view of the journal, whatever a server is doing meanwhile.
    return this.#do(() => this.database.transaction(() => this.#ids(this.#found(id), from, to))());
  }

  saveSnapshot(lease: Lease, snapshot: Snapshot): Promise<void> {
    return this.#onSnapshots(async () => {
      const { key, tokens } = this.#held(lease);
      if (snapshot.position > tokens) {
        throw new StateError("out-of-order", `a snapshot at ${snapshot.position} of a journal of ${tokens} ids`);
      }
      const snapshotBytes = await this.generations.save(key, snapshot);
      const neededFrom = await this.generations.neededFrom(key, snapshot.facts);
      this.#transaction(() => {
        const row = this.#held(lease);
        const keptFrom = this.#drop(row, neededFrom);
        this.#rows.update({ ...row, keptFrom, snapshotBytes });
      });
    });
  }

  loadSnapshot(id: string, facts: Facts | undefined, atMost: number): Promise<LoadedSnapshot> {
    return this.#do(() => this.generations.load(this.#found(id).key, facts, atMost));
  }

  fork(from: string, at: number, session: Omit<NewSession, "facts">): Promise<Lease> {
    return this.#onSnapshots(async () => {
      const snapshot = await this.generations.newest(this.#found(from).key, at);
      return this.#transaction(() => {
        const source = this.#found(from);
        const ids = this.#ids(source, source.keptFrom, at);
        if ((snapshot?.position ?? 0) < source.keptFrom) throw new StateError("dropped", droppedWords(source));
        const { facts, keptFrom } = source;
        const fork = this.#insert({ ...session, facts }, { tokens: at, keptFrom });
        this.#journal.append(fork.key, keptFrom, ids);
        this.#rows.update({ ...fork, snapshotBytes: this.generations.begin(fork.key, snapshot) });
        return leaseOf(fork);
      });
    });
  }

  adopt(session: StoredSession, ids: Uint32Array, snapshot?: Snapshot): Promise<void> {
    return this.#onSnapshots(async () => {
      const row = this.#transaction(() => {
        const { createdMs, tokens, generated, replayed, keptFrom } = session;
        const row = this.#insert(session, { createdMs, tokens, generated, replayed, keptFrom });
        this.generations.begin(row.key);
        this.#journal.append(row.key, keptFrom, ids);
        return row;
      });
      if (snapshot === undefined) return;
      try {
        const snapshotBytes = await this.generations.save(row.key, snapshot);
        this.#transaction(() => this.#rows.update({ ...row, snapshotBytes }));
      } catch (error) {
        await this.#remove(row);
        throw error;
      }
    });
  }

  sizes(): Promise<StateSizes> {
    return this.#do(() => {
      const row = this.database
        .query<{ sessions: number; bytes: number | null }, []>(
          "SELECT count(*) AS sessions, sum(snapshot_bytes) AS bytes FROM sessions",
        )
        .get();
      return {
        sessions: row?.sessions ?? 0,
        journalBytes: this.#fileBytes("") + this.#fileBytes("-wal"),
        snapshotBytes: row?.bytes ?? 0,
      };
    });
  }

  async close(): Promise<void> {
    await this.#snapshotWork;
    this.database.close();
    this.lock[Symbol.dispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #insert({ id, label, eosTokenIds, facts }: NewSession, known: Partial<StoredSession> = {}): SessionRow {
    if (this.#rows.find(id) !== undefined) {
      throw new StateError("exists", `there is a session "${id}" already; name another id`);
    }
    const now = this.#nowMs();
    const empty = { createdMs: now, tokens: 0, generated: 0, replayed: 0, keptFrom: 0, ...known };
    return this.#rows.insert({ id, label, eosTokenIds, facts, ...empty, activeMs: now, epoch: 1, snapshotBytes: 0 });
  }

  async #remove(row: SessionRow): Promise<void> {
    // Files first: if this is cut short, the session is still there, and its ids hold everything that its files did.
    await this.generations.remove(row.key);
    this.#transaction(() => {
      this.#journal.remove(row.key);
      this.#rows.delete(row.key);
    });
  }

  #found(id: string): SessionRow {
    const row = this.#rows.find(id);
    if (row === undefined) throw new StateError("not-found", `there is no session "${id}" in ${this.options.dir}`);
    return row;
  }

  #held(lease: Lease): SessionRow {
    const row = this.#found(lease.id);
    if (row.epoch !== lease.epoch) {
      throw new StateError("lost-lease", `the session "${lease.id}" has been taken over; ask who holds it now`);
    }
    return row;
  }

  #ids(row: SessionRow, from: number, to: number): Uint32Array {
    if (from < 0 || from > to || to > row.tokens) {
      throw new RangeError(`ids ${from} to ${to} of a session that has ${row.tokens}`);
    }
    if (from < row.keptFrom || to < row.keptFrom) throw new StateError("dropped", droppedWords(row));
    return this.#journal.ids(row.key, from, to, row.tokens);
  }

  /** @returns the first position that is kept */
  #drop(row: SessionRow, neededFrom: number): number {
    if (this.options.keepIds === undefined) return row.keptFrom;
    const before = Math.min(neededFrom, row.tokens - this.options.keepIds);
    return before <= row.keptFrom ? row.keptFrom : this.#journal.dropBefore(row.key, before);
  }

  #fileBytes(suffix: string): number {
    return statSync(join(this.options.dir, journalName + suffix), { throwIfNoEntry: false })?.size ?? 0;
  }

  #nowMs(): number {
    return (this.options.nowMs ?? Date.now)();
  }

  #transaction<T>(work: () => T): T {
    return this.database.transaction(work).immediate();
  }

  #onSnapshots<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#snapshotWork.then(() => this.#do(work));
    this.#snapshotWork = result.catch(() => {});
    return result;
  }

  async #do<T>(work: () => T | Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw stateErrorOf(this.options.dir, error);
    }
  }
}

function leaseOf({ id, epoch }: SessionRow): Lease {
  return { id, epoch };
}

function storedOf({ key: _key, epoch: _epoch, ...session }: SessionRow): StoredSession {
  return session;
}

function droppedWords(row: SessionRow): string {
  return `the ids of the session "${row.id}" before position ${row.keptFrom} were dropped to bound the journal`;
}

function outOfOrder(row: SessionRow, position: number): StateError {
  const words = `ids from position ${position} on don't continue the ${row.tokens} of the session "${row.id}"`;
  return new StateError("out-of-order", words);
}

function snapshotsIn(dir: string): string {
  const path = join(dir, snapshotsName);
  mkdirSync(path, { recursive: true, mode: 0o700 });
  removeDeadParts(path);
  return path;
}

/** Who serves the folder, or served it last, in its own words. */
function serverOf(dir: string): string | undefined {
  try {
    const database = openDatabaseToRead(dir);
    const words = database.query<{ words: string }, []>("SELECT words FROM server").get()?.words;
    database.close();
    return `another kakeya (${words})`;
  } catch {
    return undefined; // It has only just started.
  }
}
