/** The ids of one step of many sessions, in one statement. */

import { StateError } from "../errors.ts";
import type { JournalEntry, Lease } from "../store.ts";
import { insertRows, journalRows } from "./journal.ts";
import type { Link, Query } from "./link.ts";
import { alive } from "./membership.ts";
import { nowMs } from "./session-rows.ts";
import { sqlStateOf } from "./trouble.ts";

/** What one session gets. */
interface Part {
  lease: Lease;
  position: number;
  ids: Uint32Array;
  generated: number;
}

/**
 * Each session's row is changed only as its lease says: this epoch, this server, whose lease has not run out by the
 * database's clock, and a history that ends where the ids begin. The lock on the row makes this and a takeover come
 * one after the other. If any row is missing, the last line divides by zero, so that nothing is written.
 */
const statement = `
WITH given AS (
  SELECT * FROM json_to_recordset($1::text::json)
    AS g (id text, epoch bigint, server bigint, position bigint, count bigint, generated bigint)),
updated AS (
  UPDATE kakeya.sessions s
  SET tokens = s.tokens + g.count, generated = s.generated + g.generated, active_ms = ${nowMs}
  FROM given g
  WHERE s.id = g.id AND s.epoch = g.epoch AND s.owner = g.server AND s.tokens = g.position AND ${alive("g.server")}
  RETURNING s.key, s.id),
written AS (${insertRows("$2", "updated")})
SELECT 1 / (count(*) = (SELECT count(*) FROM given))::int AS done FROM updated`;

const divisionByZero = "22012";

/** All entries or none. @throws StateError out-of-order, lost-lease, not-found, full, unreachable */
export async function commitSteps(link: Link, entries: readonly JournalEntry[]): Promise<void> {
  const parts = joined(entries);
  if (parts.length === 0) return;
  const given = parts.map(({ lease: { id, epoch, server }, position, ids, generated }) => ({
    ...{ id, epoch, server: server ?? 0, position, generated, count: ids.length },
  }));
  const rows = parts.flatMap(({ lease, position, ids }) => journalRows(lease.id, position, ids));
  const parameters = [JSON.stringify(given), JSON.stringify(rows)];
  await link.run(async (query, repeated) => {
    try {
      await query(statement, parameters);
    } catch (error) {
      if (sqlStateOf(error) !== divisionByZero) throw error;
      if (repeated && (await isWritten(query, parts))) return;
      throw await refusalOf(query, parts);
    }
  });
}

/** Entries of one session one after the other are one. @throws StateError out-of-order when they are not */
function joined(entries: readonly JournalEntry[]): Part[] {
  const parts = new Map<string, Part>();
  for (const { lease, position, ids, generated } of entries) {
    const before = parts.get(lease.id);
    if (before === undefined) {
      parts.set(lease.id, { lease, position, ids, generated });
      continue;
    }
    const end = before.position + before.ids.length;
    if (before.lease.epoch !== lease.epoch || before.lease.server !== lease.server) throw lostLease(lease.id);
    if (end !== position) throw outOfOrder(lease.id, position, end);
    const both = new Uint32Array(before.ids.length + ids.length);
    both.set(before.ids);
    both.set(ids, before.ids.length);
    parts.set(lease.id, { ...before, ids: both, generated: before.generated + generated });
  }
  return [...parts.values()];
}

/**
 * Whether a statement of which nobody heard was committed after all. Nobody else writes under this epoch, so the ids
 * that are there are these.
 */
async function isWritten(query: Query, parts: readonly Part[]): Promise<boolean> {
  const rows = await stateOf(query, parts);
  return parts.every(({ lease, position, ids }) => {
    const row = rows.get(lease.id);
    return row?.epoch === lease.epoch && row.tokens === position + ids.length;
  });
}

async function refusalOf(query: Query, parts: readonly Part[]): Promise<StateError> {
  const rows = await stateOf(query, parts);
  for (const { lease, position } of parts) {
    const row = rows.get(lease.id);
    if (row === undefined) return new StateError("not-found", `there is no session "${lease.id}" any more`);
    if (row.epoch !== lease.epoch || row.owner !== lease.server || !row.lives) return lostLease(lease.id);
    if (row.tokens !== position) return outOfOrder(lease.id, position, row.tokens);
  }
  return new StateError("lost-lease", "the lease of this server ran out for a moment; try again");
}

async function stateOf(query: Query, parts: readonly Part[]) {
  const rows = await query(
    `SELECT s.id, s.epoch, s.owner, s.tokens, ${alive("s.owner")} AS lives FROM kakeya.sessions s
     WHERE s.id IN (SELECT json_array_elements_text($1::text::json))`,
    [JSON.stringify(parts.map(({ lease }) => lease.id))],
  );
  return new Map(
    rows.map(({ id, epoch, owner, tokens, lives }) => [
      String(id),
      {
        epoch: Number(epoch),
        owner: owner === null ? undefined : Number(owner),
        tokens: Number(tokens),
        lives: lives === true,
      },
    ]),
  );
}

export function lostLease(id: string): StateError {
  return new StateError("lost-lease", `the session "${id}" is not this server's any more; try again`);
}

function outOfOrder(id: string, position: number, tokens: number): StateError {
  const words = `ids from position ${position} on don't continue the ${tokens} of the session "${id}"`;
  return new StateError("out-of-order", words);
}
