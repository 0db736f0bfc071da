/** Sessions as rows, read and written with a checksum. */

import type { Database } from "bun:sqlite";
import { crc32 } from "node:zlib";
import { StateError } from "./errors.ts";
import { factsFrom } from "./facts.ts";
import type { StoredSession } from "./store.ts";

export interface SessionRow extends StoredSession {
  /** Names the session inside the folder. */
  key: number;
  epoch: number;
}

interface Columns {
  key: number;
  id: string;
  label: string;
  eos: Uint8Array;
  facts: string;
  created_ms: number;
  active_ms: number;
  tokens: number;
  generated: number;
  replayed: number;
  kept_from: number;
  epoch: number;
  snapshot_bytes: number;
  crc: number;
}

export class SessionRows {
  readonly #byId;
  readonly #all;
  readonly #inactive;
  readonly #insert;
  readonly #update;
  readonly #delete;

  constructor(database: Database) {
    this.#byId = database.query<Columns, [string]>("SELECT * FROM sessions WHERE id = ?");
    this.#all = database.query<Columns, []>("SELECT * FROM sessions ORDER BY active_ms DESC");
    this.#inactive = database.query<{ id: string }, [number]>("SELECT id FROM sessions WHERE active_ms < ?");
    this.#insert = database.query<{ key: number }, [string, number]>(
      `INSERT INTO sessions (id, label, eos, facts, created_ms, active_ms, tokens, generated, replayed, kept_from, epoch, snapshot_bytes, crc)
       VALUES (?, '', x'', '', ?, 0, 0, 0, 0, 0, 0, 0, 0) RETURNING key`,
    );
    this.#update = database.query<null, [string, Uint8Array, string, number, ...number[]]>(
      `UPDATE sessions SET label = ?, eos = ?, facts = ?, active_ms = ?, tokens = ?, generated = ?, replayed = ?, kept_from = ?, epoch = ?,
       snapshot_bytes = ?, crc = ? WHERE key = ?`,
    );
    this.#delete = database.query<null, [number]>("DELETE FROM sessions WHERE key = ?");
  }

  /** @throws StateError damaged when the row is not what was written */
  find(id: string): SessionRow | undefined {
    const columns = this.#byId.get(id);
    return columns === null ? undefined : rowFrom(columns);
  }

  /** The most recently active first. */
  all(): SessionRow[] {
    return this.#all.all().map(rowFrom);
  }

  inactiveSince(ms: number): string[] {
    return this.#inactive.all(ms).map(({ id }) => id);
  }

  insert(session: Omit<SessionRow, "key">): SessionRow {
    const key = this.#insert.get(session.id, session.createdMs)?.key;
    if (key === undefined) throw new Error(`the session ${session.id} got no key`);
    const row = { ...session, key };
    this.update(row);
    return row;
  }

  update(row: SessionRow): void {
    const c = columnsOf(row);
    this.#update.run(
      ...[
        c.label,
        c.eos,
        c.facts,
        c.active_ms,
        c.tokens,
        c.generated,
        c.replayed,
        c.kept_from,
        c.epoch,
        c.snapshot_bytes,
      ],
      ...[c.crc, c.key],
    );
  }

  delete(key: number): void {
    this.#delete.run(key);
  }
}

function columnsOf(row: SessionRow): Columns {
  const columns = {
    key: row.key,
    id: row.id,
    label: row.label,
    eos: new Uint8Array(Uint32Array.from(row.eosTokenIds).buffer),
    facts: JSON.stringify(row.facts),
    created_ms: row.createdMs,
    active_ms: row.activeMs,
    tokens: row.tokens,
    generated: row.generated,
    replayed: row.replayed,
    kept_from: row.keptFrom,
    epoch: row.epoch,
    snapshot_bytes: row.snapshotBytes,
  };
  return { ...columns, crc: checksum(columns) };
}

function rowFrom(c: Columns): SessionRow {
  if (c.crc !== checksum(c)) {
    throw new StateError(
      "damaged",
      `the journal's entry of the session "${c.id}" is damaged; restore it from a backup`,
    );
  }
  return {
    key: c.key,
    id: c.id,
    label: c.label,
    eosTokenIds: Array.from(new Uint32Array(c.eos.slice().buffer)),
    facts: factsFrom(JSON.parse(c.facts)),
    createdMs: c.created_ms,
    activeMs: c.active_ms,
    tokens: c.tokens,
    generated: c.generated,
    replayed: c.replayed,
    keptFrom: c.kept_from,
    epoch: c.epoch,
    snapshotBytes: c.snapshot_bytes,
  };
}

function checksum(c: Omit<Columns, "crc">): number {
  const text = JSON.stringify([c.key, c.id, c.label, Array.from(c.eos), c.facts, c.created_ms, c.active_ms]);
  return crc32(`${text} ${c.tokens} ${c.generated} ${c.replayed} ${c.kept_from} ${c.epoch} ${c.snapshot_bytes}`);
}
