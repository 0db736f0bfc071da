/** Sessions as rows: written with a checksum of what does not change with their ids, which the journal shows. */

import { crc32 } from "node:zlib";
import { StateError } from "../errors.ts";
import { type Facts, factsFrom } from "../facts.ts";
import type { NewSession, StoredSession } from "../store.ts";
import type { Query, Row } from "./link.ts";

export interface SessionRow extends StoredSession {
  key: number;
  epoch: number;
  /** Undefined: nobody's. */
  owner: number | undefined;
}

/** SQL: now, in milliseconds, by the clock of the database, which all servers share. */
export const nowMs = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/** SQL: a session, and which live server has it; follow it with WHERE. */
export const selectSession = `
  SELECT s.*, v.name AS holder FROM kakeya.sessions s
  LEFT JOIN kakeya.servers v ON v.server = s.owner AND v.expires_at > clock_timestamp()`;

/** @param server the caller's number: it is not told that it holds a session itself */
export async function findSession(query: Query, id: string, server: number): Promise<SessionRow | undefined> {
  const [row] = await query(`${selectSession} WHERE s.id = $1`, [id]);
  return row && sessionFrom(row, server);
}

/** Undefined: there is such a session already. */
export async function insertSession(
  query: Query,
  session: NewSession & Partial<StoredSession>,
  { owner, epoch }: { owner: number | null; epoch: number },
): Promise<number | undefined> {
  const { id, label, createdMs, tokens = 0, generated = 0, replayed = 0, keptFrom = 0 } = session;
  const [now] = createdMs === undefined ? await query(`SELECT ${nowMs} AS ms`) : [{ ms: createdMs }];
  const created = Number(now?.ms);
  const eos = eosBytes(session.eosTokenIds);
  const facts = JSON.stringify(session.facts);
  const crc = checksum(id, label, eos, facts, created);
  const [row] = await query(
    `INSERT INTO kakeya.sessions (id, label, eos, facts, created_ms, active_ms, tokens, generated, replayed,
       kept_from, epoch, owner, snapshot_bytes, crc)
     VALUES ($1, $2, $3, $4, $5, ${nowMs}, $6, $7, $8, $9, $10, $11, 0, $12)
     ON CONFLICT (id) DO NOTHING RETURNING key`,
    [id, label, eos, facts, created, tokens, generated, replayed, keptFrom, epoch, owner, crc],
  );
  return row && Number(row.key);
}

/** @returns the columns that say what a session is computed with */
export function factsColumns(row: SessionRow, facts: Facts): { facts: string; crc: number } {
  const text = JSON.stringify(facts);
  return { facts: text, crc: checksum(row.id, row.label, eosBytes(row.eosTokenIds), text, row.createdMs) };
}

/** @throws StateError damaged when the row is not what was written */
export function sessionFrom(row: Row, server: number): SessionRow {
  const { id, label, eos, facts, holder } = row as {
    id: string;
    label: string;
    eos: Buffer;
    facts: string;
    holder?: unknown;
  };
  const count = (name: string) => Number(row[name]);
  if (count("crc") !== checksum(id, label, eos, facts, count("created_ms"))) {
    throw new StateError("damaged", `the entry of the session "${id}" is damaged; restore the database from a backup`);
  }
  const owner = row.owner === null ? undefined : count("owner");
  return {
    ...{ key: count("key"), id, label, epoch: count("epoch"), owner },
    eosTokenIds: Array.from(new Uint32Array(Uint8Array.from(eos).buffer)),
    facts: factsFrom(JSON.parse(facts)),
    ...{ createdMs: count("created_ms"), activeMs: count("active_ms"), tokens: count("tokens") },
    ...{ generated: count("generated"), replayed: count("replayed"), keptFrom: count("kept_from") },
    snapshotBytes: count("snapshot_bytes"),
    ...(typeof holder === "string" && owner !== server ? { holder } : {}),
  };
}

export function storedOf({ key: _key, epoch: _epoch, owner: _owner, ...session }: SessionRow): StoredSession {
  return session;
}

function eosBytes(ids: readonly number[]): Buffer {
  return Buffer.from(Uint32Array.from(ids).buffer);
}

function checksum(id: string, label: string, eos: Buffer, facts: string, createdMs: number): number {
  return crc32(JSON.stringify([id, label, eos.toString("hex"), facts, createdMs]));
}
