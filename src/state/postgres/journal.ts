/** The ids of all sessions, as rows of at most `rowTokens`. */

import { crc32 } from "node:zlib";
import { StateError } from "../errors.ts";
import type { Query } from "./link.ts";

/** No row has ids on both sides of a multiple of this. */
export const rowTokens = 1000;

/** A session, as its rows name it. */
export interface Named {
  key: number;
  id: string;
}

/** For `json_to_recordset`: bytes as base64. */
export interface JournalRow {
  id: string;
  position: number;
  ids: string;
  crc: number;
}

const columns = "(id text, position bigint, ids text, crc bigint)";
/** Rows in one statement, so that no parameter is huge. */
const rowsAtOnce = 512;

export function journalRows(id: string, from: number, ids: Uint32Array): JournalRow[] {
  const rows: JournalRow[] = [];
  for (let done = 0; done < ids.length; ) {
    const position = from + done;
    const take = Math.min(ids.length - done, rowTokens - (position % rowTokens));
    const bytes = bytesOf(ids.subarray(done, done + take));
    rows.push({ id, position, ids: bytes.toString("base64"), crc: checksum(id, position, bytes) });
    done += take;
  }
  return rows;
}

/** SQL: inserts the rows of a parameter for the sessions of `updated` (key, id). */
export function insertRows(parameter: string, sessions: string): string {
  return `INSERT INTO kakeya.journal (session, position, ids, crc)
    SELECT u.key, r.position, decode(r.ids, 'base64'), r.crc
    FROM json_to_recordset(${parameter}::text::json) AS r ${columns} JOIN ${sessions} u ON u.id = r.id`;
}

/** Within a transaction: the ids of a new session. */
export async function insertIds(query: Query, { key, id }: Named, from: number, ids: Uint32Array): Promise<void> {
  const rows = journalRows(id, from, ids);
  for (let at = 0; at < rows.length; at += rowsAtOnce) {
    const some = JSON.stringify(rows.slice(at, at + rowsAtOnce));
    await query(insertRows("$1", "(SELECT $2::bigint AS key, $3::text AS id)"), [some, key, id]);
  }
}

/**
 * The ids at positions [from, to).
 * @throws StateError damaged
 */
export async function readIds(query: Query, session: Named, from: number, to: number): Promise<Uint32Array> {
  const ids = new Uint32Array(to - from);
  if (ids.length === 0) return ids;
  const rows = await query(
    "SELECT position, ids, crc FROM kakeya.journal WHERE session = $1 AND position > $2 AND position < $3 ORDER BY position",
    [session.key, from - rowTokens, to],
  );
  let at = from;
  for (const row of rows) {
    const { position, ids: stored } = checkedRow(session, row);
    if (position + stored.length <= at) continue;
    if (position > at) break;
    const part = stored.subarray(at - position, to - position);
    ids.set(part, at - from);
    at += part.length;
  }
  if (at < to) throw damaged(session, `ids ${at} to ${to - 1} are missing`);
  return ids;
}

/** @throws StateError damaged unless the journal ends with the session's last id */
export async function requireEnd(query: Query, session: Named, tokens: number, keptFrom: number): Promise<void> {
  const [last] = await query(
    "SELECT position, octet_length(ids) AS bytes FROM kakeya.journal WHERE session = $1 ORDER BY position DESC LIMIT 1",
    [session.key],
  );
  const end = last === undefined ? keptFrom : Number(last.position) + Number(last.bytes) / 4;
  if (end !== tokens) throw damaged(session, `it ends at position ${end}, the session counts ${tokens} ids`);
}

/**
 * Makes one row of those that could be one. It changes no ids, and only what still is as it was read, so it needs no
 * lease: whoever takes the session over meanwhile finds the same ids.
 */
export async function packRows(query: Query, session: Named): Promise<void> {
  const rows = await query(
    `SELECT position, ids, crc FROM kakeya.journal WHERE session = $1 AND position / ${rowTokens} IN
       (SELECT position / ${rowTokens} FROM kakeya.journal WHERE session = $1 GROUP BY 1 HAVING count(*) > 1)
     ORDER BY position`,
    [session.key],
  );
  const packed = packedRows(session, rows);
  for (let at = 0; at < packed.length; at += rowsAtOnce) {
    await query(
      `WITH changed AS (
         UPDATE kakeya.journal j SET ids = decode(p.ids, 'base64'), crc = p.crc
         FROM json_to_recordset($2::text::json) AS p (position bigint, until bigint, was bigint, ids text, crc bigint)
         WHERE j.session = $1 AND j.position = p.position AND j.crc = p.was AND octet_length(j.ids) < octet_length(decode(p.ids, 'base64'))
         RETURNING p.position, p.until)
       DELETE FROM kakeya.journal j USING changed c
       WHERE j.session = $1 AND j.position > c.position AND j.position < c.until`,
      [session.key, JSON.stringify(packed.slice(at, at + rowsAtOnce))],
    );
  }
}

/** @returns the first position that is still there */
export async function dropBefore(query: Query, { key }: Named, position: number): Promise<number> {
  const first = position - (position % rowTokens);
  await query("DELETE FROM kakeya.journal WHERE session = $1 AND position < $2", [key, first]);
  return first;
}

function packedRows(session: Named, rows: readonly Record<string, unknown>[]) {
  const byChunk = Map.groupBy(rows, ({ position }) => Math.floor(Number(position) / rowTokens));
  return [...byChunk.values()].map((parts) => {
    const checked = parts.map((row) => checkedRow(session, row));
    const position = checked[0]?.position ?? 0;
    const until = checked.reduce((end, part) => {
      if (part.position !== end) throw damaged(session, `ids ${end} to ${part.position - 1} are missing`);
      return end + part.ids.length;
    }, position);
    const ids = new Uint32Array(until - position);
    for (const part of checked) ids.set(part.ids, part.position - position);
    const bytes = bytesOf(ids);
    const now = { ids: bytes.toString("base64"), crc: checksum(session.id, position, bytes) };
    return { position, until, was: Number(parts[0]?.crc), ...now };
  });
}

function checkedRow(session: Named, row: Record<string, unknown>): { position: number; ids: Uint32Array } {
  const position = Number(row.position);
  const bytes = row.ids as Buffer; // bytea
  const last = position + bytes.length / 4 - 1;
  if (bytes.length === 0 || bytes.length % 4 !== 0 || Number(row.crc) !== checksum(session.id, position, bytes)) {
    throw damaged(session, `the checksum of ids ${position} to ${last} is wrong`);
  }
  return { position, ids: new Uint32Array(Uint8Array.from(bytes).buffer) };
}

/** Covers the place as well, so that ids that ended up in another session or position are noticed. */
function checksum(id: string, position: number, ids: Uint8Array): number {
  return crc32(ids, crc32(`${position} ${id}`));
}

function bytesOf(ids: Uint32Array): Buffer {
  return Buffer.from(ids.buffer, ids.byteOffset, ids.byteLength);
}

function damaged({ id }: Named, what: string): StateError {
  const words = `the journal of the session "${id}" is damaged: ${what}; restore the database from a backup`;
  return new StateError("damaged", words);
}
