/** State in Postgres, which several servers share: each session is one server's at a time. */

import { hostname } from "node:os";
import { StateError } from "../errors.ts";
import type { Facts } from "../facts.ts";
import type {
  FleetState,
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
} from "../store.ts";
import type { PostgresAddress } from "./address.ts";
import { commitSteps, lostLease } from "./commit.ts";
import { dropBefore, insertIds, packRows, readIds, requireEnd } from "./journal.ts";
import { Link, type LinkOptions, type Query, type Row } from "./link.ts";
import { alive, Membership } from "./membership.ts";
import {
  factsColumns,
  findSession,
  insertSession,
  nowMs,
  type SessionRow,
  selectSession,
  sessionFrom,
  storedOf,
} from "./session-rows.ts";
import {
  addSnapshot,
  insertSnapshot,
  loadNewest,
  newestUpTo,
  removeAbandoned,
  removeSnapshots,
  removeUnused,
  setAside,
  type Written,
  writeBody,
} from "./snapshots.ts";
import { migrate, requireTables } from "./tables.ts";

export interface PostgresOptions extends PostgresAddress {
  /** As other servers' errors name this one; absent: its host and process. */
  serverName?: string;
  /** Time after which others may take the sessions of this server if it does not answer, in seconds. */
  leaseS: number;
  /** How long calls wait for a database that is away, in seconds. */
  waitS: number;
  /** How many ids a session keeps at least, as in a state folder; absent: all. */
  keepIds?: number;
  /** How long a statement may take before its connection counts as lost, in seconds. */
  answerS?: number;
}

/** Connections for everything but steps and the lease, which must not wait for a snapshot. */
const connections = 4;
/** What is counted for metrics is counted no more often, in milliseconds. */
const sizesEveryMs = 5000;
/** Up to here sessions are counted; beyond, Postgres's own estimate is good enough. */
const countedSessions = 100_000;

/** A server that doesn't serve: it takes no session. */
const nobody = 0;

export class PostgresStore implements StateStore {
  readonly #sizes: { value: StateSizes; at: number } = {
    value: { sessions: 0, journalBytes: 0, snapshotBytes: 0 },
    at: Number.NEGATIVE_INFINITY,
  };

  private constructor(
    private readonly work: Link,
    private readonly steps: Link,
    private readonly heart: Link,
    private readonly membership: Membership | undefined,
    private readonly options: PostgresOptions,
  ) {}

  /**
   * Joins the servers of the database, whose tables are made or brought up to date.
   * @throws StateError unusable, newer, unreachable
   */
  static async open(options: PostgresOptions): Promise<PostgresStore> {
    const [work, steps, heart] = linksOf(options);
    try {
      await migrate(work);
      await requireDurable(work);
      const name = options.serverName ?? `process ${process.pid} on ${hostname()}`;
      const membership = await Membership.begin(heart, { name, leaseS: options.leaseS });
      await removeAbandoned(work);
      return new PostgresStore(work, steps, heart, membership, options);
    } catch (error) {
      for (const link of [work, steps, heart]) await link.close();
      throw error;
    }
  }

  /** Opens the database to read it, whatever servers do meanwhile. @throws StateError unusable, newer, unreachable */
  static async toRead(address: PostgresAddress): Promise<StateReader> {
    return await PostgresStore.#beside(address, requireTables);
  }

  /**
   * Opens the database to import and remove sessions, which its servers find, too.
   * @throws StateError unusable, newer, unreachable
   */
  static async toImport(address: PostgresAddress): Promise<PostgresStore> {
    return await PostgresStore.#beside(address, migrate);
  }

  static async #beside(address: PostgresAddress, prepare: (link: Link) => Promise<void>): Promise<PostgresStore> {
    const options = { ...address, leaseS: 0, waitS: 0 };
    const [work, steps, heart] = linksOf(options);
    const store = new PostgresStore(work, steps, heart, undefined, options);
    try {
      await prepare(work);
      return store;
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  async create(session: NewSession): Promise<Lease> {
    const server = await this.#alive();
    await this.work.run(async (query, repeated) => {
      const key = await insertSession(query, session, { owner: server, epoch: 1 });
      const isOwn = key !== undefined || (repeated && (await this.#isNew(query, session.id, server)));
      if (!isOwn) throw alreadyThere(session.id);
    });
    return { id: session.id, epoch: 1, server };
  }

  async acquire(id: string): Promise<Taken | undefined> {
    for (let tried = 1; ; tried++) {
      const server = await this.#alive();
      const row = await this.work.run((query) => takeRow(query, id, server));
      if (row !== undefined) {
        const session = sessionFrom(row, server);
        await requireEnd(this.work.each, session, session.tokens, session.keptFrom);
        const isFromDead = row.owner_before !== row.owner && typeof row.name_before === "string";
        return {
          lease: { id, epoch: session.epoch, server },
          session: storedOf(session),
          ...(isFromDead ? { takenFrom: String(row.name_before) } : {}),
        };
      }
      const found = await findSession(this.work.each, id, server);
      if (found === undefined) return undefined;
      if (found.holder !== undefined || tried === 3) throw heldBy(found);
      // Its server ended just now, or this one's lease has.
      await this.membership?.renew();
    }
  }

  async release({ id, epoch, server = nobody }: Lease): Promise<void> {
    await this.work.run((query) =>
      query(
        `WITH released AS (
           UPDATE kakeya.sessions SET owner = NULL WHERE id = $1 AND epoch = $2 AND owner = $3 RETURNING key)
         DELETE FROM kakeya.wanted w USING released r WHERE w.session = r.key`,
        [id, epoch, server],
      ),
    );
  }

  async want(id: string): Promise<void> {
    await this.work.run((query) =>
      query(
        `INSERT INTO kakeya.wanted (session, owner)
         SELECT key, owner FROM kakeya.sessions WHERE id = $1 AND owner IS NOT NULL
         ON CONFLICT (session) DO UPDATE SET owner = excluded.owner WHERE wanted.owner <> excluded.owner`,
        [id],
      ),
    );
  }

  async fleet(): Promise<FleetState> {
    return { server: this.#server, wanted: this.membership?.wanted ?? [], connected: this.heart.connected };
  }

  async find(id: string): Promise<StoredSession | undefined> {
    const row = await this.work.run((query) => findSession(query, id, this.#server));
    return row && storedOf(row);
  }

  async list(): Promise<StoredSession[]> {
    const rows = await this.work.run((query) => query(`${selectSession} ORDER BY s.active_ms DESC`));
    return rows.map((row) => storedOf(sessionFrom(row, this.#server)));
  }

  async inactiveSince(ms: number): Promise<string[]> {
    const rows = await this.work.run((query) =>
      query(
        `SELECT s.id FROM kakeya.sessions s WHERE s.active_hour <= $1::bigint / 3600000 AND s.active_ms < $1
         AND (s.owner IS NULL OR s.owner = $2 OR NOT ${alive("s.owner")})`,
        [Math.floor(ms), this.#server],
      ),
    );
    return rows.map(({ id }) => String(id));
  }

  async restored(lease: Lease, replayedTokens: number, facts?: Facts): Promise<void> {
    let replayed: number | undefined;
    await this.work.transaction(async (query) => {
      const row = await this.#held(query, lease);
      // Done again, it must not count twice: nobody else writes while the lease holds.
      replayed ??= row.replayed + replayedTokens;
      const columns = factsColumns(row, facts ?? row.facts);
      const set = "UPDATE kakeya.sessions SET replayed = $2, facts = $3, crc = $4 WHERE key = $1";
      await query(set, [row.key, replayed, columns.facts, columns.crc]);
    });
  }

  async remove(id: string, only: RemovalCondition = {}): Promise<boolean> {
    return await this.work.transaction(async (query, repeated) => {
      const [found] = await query("SELECT key FROM kakeya.sessions WHERE id = $1 FOR UPDATE", [id]);
      // Only this could have removed it: ids are not used twice.
      if (found === undefined) return repeated;
      const row = await this.#found(query, id);
      if (only.lease !== undefined) await this.#held(query, only.lease);
      if (only.inactiveSinceMs !== undefined && row.activeMs >= only.inactiveSinceMs) return false;
      if (row.holder !== undefined) throw heldBy(row);
      await query("DELETE FROM kakeya.sessions WHERE key = $1", [row.key]);
      await query("DELETE FROM kakeya.journal WHERE session = $1", [row.key]);
      await query("DELETE FROM kakeya.wanted WHERE session = $1", [row.key]);
      await removeSnapshots(query, row.key);
      return true;
    });
  }

  async commit(entries: readonly JournalEntry[]): Promise<void> {
    await commitSteps(this.steps, entries);
  }

  async ids(id: string, from: number, to: number): Promise<Uint32Array> {
    return await this.#inOneView(async (query) => {
      const row = await this.#found(query, id);
      return await readKept(query, row, from, to);
    });
  }

  async saveSnapshot(lease: Lease, snapshot: Snapshot): Promise<void> {
    const { key } = await this.work.transaction((query) => this.#snapshotable(query, lease, snapshot.position));
    const written = await writeBody(this.work.each, lease.server ?? nobody, snapshot);
    const unused = new Set<number>();
    try {
      await this.work.transaction(async (query) => {
        const row = await this.#snapshotable(query, lease, snapshot.position);
        const { snapshotBytes, neededFrom, replaced } = await addSnapshot(query, key, written);
        for (const body of replaced) unused.add(body);
        const keptFrom = await this.#drop(query, row, neededFrom);
        const set = "UPDATE kakeya.sessions SET kept_from = $2, snapshot_bytes = $3 WHERE key = $1";
        await query(set, [key, keptFrom, snapshotBytes]);
      });
    } catch (error) {
      await this.work.run((query) => removeUnused(query, written.body)).catch(() => {});
      throw error;
    }
    // What fails here is done by the next snapshot, or when a server begins after this one has ended.
    for (const body of unused) await removeUnused(this.work.each, body).catch(() => {});
    await packRows(this.work.each, { key, id: lease.id }).catch(() => {});
  }

  async loadSnapshot(id: string, facts: Facts | undefined, atMost: number): Promise<LoadedSnapshot> {
    const { key, damaged, ...loaded } = await this.#inOneView(async (query) => {
      const { key } = await this.#found(query, id);
      return { key, ...(await loadNewest(query, key, facts, atMost)) };
    });
    // Who only reads changes nothing.
    if (this.membership !== undefined) {
      for (const body of damaged) await this.work.run((query) => setAside(query, key, body));
    }
    return loaded;
  }

  async fork(from: string, at: number, session: Omit<NewSession, "facts">): Promise<Lease> {
    const server = await this.#alive();
    await this.work.transaction(async (query, repeated) => {
      // Nothing of the source changes meanwhile, nor is the snapshot removed that both will have.
      await query("SELECT FROM kakeya.sessions WHERE id = $1 FOR SHARE", [from]);
      const source = await this.#found(query, from);
      const ids = await readKept(query, source, source.keptFrom, at);
      const snapshot = await newestUpTo(query, source.key, at);
      if ((snapshot?.facts.position ?? 0) < source.keptFrom) throw dropped(source);
      const { facts, keptFrom } = source;
      const fork = { ...session, facts, tokens: at, keptFrom };
      const key = await insertSession(query, fork, { owner: server, epoch: 1 });
      if (key === undefined) {
        if (repeated && (await this.#isNew(query, session.id, server))) return;
        throw alreadyThere(session.id);
      }
      await insertIds(query, { key, id: session.id }, keptFrom, ids);
      await giveSnapshot(query, key, snapshot);
    });
    return { id: session.id, epoch: 1, server };
  }

  async adopt(session: StoredSession, ids: Uint32Array, snapshot?: Snapshot): Promise<void> {
    await this.work.transaction(async (query, repeated) => {
      const key = await insertSession(query, session, { owner: null, epoch: 0 });
      if (key === undefined) {
        const there = repeated ? await findSession(query, session.id, nobody) : undefined;
        if (there?.epoch === 0 && there.tokens === session.tokens) return;
        throw alreadyThere(session.id);
      }
      await insertIds(query, { key, id: session.id }, session.keptFrom, ids);
      await giveSnapshot(query, key, snapshot && (await writeBody(query, nobody, snapshot)));
    });
  }

  /** While the database is away, what was counted last. */
  async sizes(): Promise<StateSizes> {
    if (performance.now() - this.#sizes.at < sizesEveryMs || !this.heart.connected) return this.#sizes.value;
    const [row] = await this.work.run((query) =>
      query(
        `SELECT count(*) AS counted, sum(s.snapshot_bytes) AS bytes,
           (SELECT reltuples FROM pg_class WHERE oid = 'kakeya.sessions'::regclass) AS estimated,
           pg_total_relation_size('kakeya.journal') AS journal, pg_total_relation_size('kakeya.chunks') AS snapshots
         FROM (SELECT snapshot_bytes FROM kakeya.sessions LIMIT ${countedSessions}) s`,
      ),
    );
    const counted = Number(row?.counted);
    const isAll = counted < countedSessions;
    this.#sizes.value = {
      sessions: isAll ? counted : Math.max(counted, Number(row?.estimated)),
      journalBytes: Number(row?.journal),
      snapshotBytes: Number(isAll ? row?.bytes : row?.snapshots),
    };
    this.#sizes.at = performance.now();
    return this.#sizes.value;
  }

  /** Gives all sessions back. */
  async close(): Promise<void> {
    await this.membership?.end().catch(() => {}); // If the database is away, the lease runs out.
    for (const link of [this.work, this.steps, this.heart]) await link.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  get #server(): number {
    return this.membership?.server ?? nobody;
  }

  /** @returns this server's number, with which it can take sessions */
  async #alive(): Promise<number> {
    if (this.membership === undefined) throw new Error("this store takes no sessions");
    await this.membership.requireAlive();
    return this.membership.server;
  }

  #inOneView<T>(work: (query: Query) => Promise<T>): Promise<T> {
    return this.work.transaction(work, "isolation level repeatable read");
  }

  async #isNew(query: Query, id: string, server: number): Promise<boolean> {
    const row = await findSession(query, id, server);
    return row?.owner === server && row.epoch === 1;
  }

  async #found(query: Query, id: string): Promise<SessionRow> {
    const row = await findSession(query, id, this.#server);
    if (row !== undefined) return row;
    throw new StateError("not-found", `there is no session "${id}" in ${this.work.shown}`);
  }

  /** Locks the session for the transaction. */
  async #held(query: Query, { id, epoch, server = nobody }: Lease): Promise<SessionRow> {
    const [row] = await query(
      `SELECT s.* FROM kakeya.sessions s
       WHERE s.id = $1 AND s.epoch = $2 AND s.owner = $3 AND ${alive("s.owner")} FOR UPDATE OF s`,
      [id, epoch, server],
    );
    if (row !== undefined) return sessionFrom(row, server);
    await this.#found(query, id);
    throw lostLease(id);
  }

  async #snapshotable(query: Query, lease: Lease, position: number): Promise<SessionRow> {
    const row = await this.#held(query, lease);
    if (position <= row.tokens) return row;
    throw new StateError("out-of-order", `a snapshot at ${position} of a journal of ${row.tokens} ids`);
  }

  async #drop(query: Query, row: SessionRow, neededFrom: number): Promise<number> {
    if (this.options.keepIds === undefined) return row.keptFrom;
    const before = Math.min(neededFrom, row.tokens - this.options.keepIds);
    return before <= row.keptFrom ? row.keptFrom : await dropBefore(query, row, before);
  }
}

function linksOf(options: PostgresOptions): [work: Link, steps: Link, heart: Link] {
  const { answerS = Math.max(10, options.waitS), leaseS, waitS } = options;
  const link: LinkOptions = { ...options, answerS, waitS, idleInTransactionS: Math.max(leaseS, 5) };
  return [new Link(link, connections), new Link(link, 1), new Link({ ...link, waitS: 0 }, 1)];
}

/**
 * Takes a session for a live server, unless another one has it. The lock on its row makes this and a commit come one
 * after the other, so that what is read here holds whatever was committed before.
 * @returns the session's columns, and whose it was
 */
async function takeRow(query: Query, id: string, server: number): Promise<Row | undefined> {
  const [row] = await query(
    `WITH before AS (
       SELECT s.key, s.owner, v.name FROM kakeya.sessions s LEFT JOIN kakeya.servers v ON v.server = s.owner
       WHERE s.id = $1 FOR UPDATE OF s),
     taken AS (
       UPDATE kakeya.sessions s SET epoch = s.epoch + 1, owner = $2, active_ms = ${nowMs}
       FROM before b
       WHERE s.key = b.key AND (s.owner IS NULL OR s.owner = $2 OR NOT ${alive("s.owner")}) AND ${alive("$2")}
       RETURNING s.*),
     asked AS (DELETE FROM kakeya.wanted w USING taken t WHERE w.session = t.key)
     SELECT t.*, b.owner AS owner_before, b.name AS name_before FROM taken t JOIN before b ON b.key = t.key`,
    [id, server],
  );
  return row;
}

/** @throws StateError unusable when a commit may be lost in a crash */
async function requireDurable(link: Link): Promise<void> {
  const [row] = await link.run((query) =>
    query("SELECT current_setting('synchronous_commit') AS commits, current_setting('fsync') AS flushes"),
  );
  const off = row?.commits === "off" ? "synchronous_commit" : row?.flushes === "off" ? "fsync" : undefined;
  if (off === undefined) return;
  throw new StateError("unusable", `${link.shown} has ${off} = off, so a crash would lose ids: set it to on`);
}

/** Within the transaction that makes the session. */
async function giveSnapshot(query: Query, key: number, snapshot: Written | undefined): Promise<void> {
  if (snapshot === undefined) return;
  await insertSnapshot(query, key, snapshot);
  await query("UPDATE kakeya.sessions SET snapshot_bytes = $2 WHERE key = $1", [key, snapshot.bytes]);
}

async function readKept(query: Query, row: SessionRow, from: number, to: number): Promise<Uint32Array> {
  if (from < 0 || from > to || to > row.tokens) {
    throw new RangeError(`ids ${from} to ${to} of a session that has ${row.tokens}`);
  }
  if (from < row.keptFrom || to < row.keptFrom) throw dropped(row);
  return await readIds(query, row, from, to);
}

function alreadyThere(id: string): StateError {
  return new StateError("exists", `there is a session "${id}" already; name another id`);
}

function heldBy({ id, holder }: SessionRow): StateError {
  return new StateError(
    "held",
    `another server has the session "${id}": ${holder ?? "it took it just now"}; try again`,
  );
}

function dropped({ id, keptFrom }: SessionRow): StateError {
  const words = `the ids of the session "${id}" before position ${keptFrom} were dropped to bound the journal`;
  return new StateError("dropped", words);
}
