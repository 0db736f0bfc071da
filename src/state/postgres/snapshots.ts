/**
 * The two newest snapshots of each session. Their bodies are rows of 1 MiB, each with a checksum, which forks share. A
 * body is written before any session refers to it; what a dead server left of one is removed when another begins.
 */

import { crc32 } from "node:zlib";
import { StateError } from "../errors.ts";
import { differences, type Facts } from "../facts.ts";
import { type SnapshotFacts, snapshotFactsFrom } from "../snapshot-file.ts";
import type { LoadedSnapshot, Snapshot } from "../store.ts";
import type { Link, Query, Row } from "./link.ts";
import { alive } from "./membership.ts";

const chunkBytes = 1 << 20;

/** A body that was written, and what it holds. */
export interface Written {
  body: number;
  bytes: number;
  facts: SnapshotFacts;
}

interface Generation {
  body: number;
  bytes: number;
  /** Undefined: damaged. */
  facts: SnapshotFacts | undefined;
}

/** Writes a body to which nobody refers yet. @throws StateError lost-lease when the server's lease ran out meanwhile */
export async function writeBody(query: Query, server: number, { body: pieces, ...facts }: Snapshot): Promise<Written> {
  const [row] = await query("INSERT INTO kakeya.bodies (server) VALUES ($1) RETURNING body", [server]);
  const body = Number(row?.body);
  let chunk = 0;
  let bytes = 0;
  for (const piece of pieces) {
    for (let at = 0; at < piece.length; at += chunkBytes) {
      const part = piece.subarray(at, at + chunkBytes);
      await writeChunk(query, body, chunk++, part);
      bytes += part.length;
    }
  }
  return { body, bytes, facts };
}

/** Done twice, it is there once. */
async function writeChunk(query: Query, body: number, chunk: number, bytes: Uint8Array): Promise<void> {
  const written = await query(
    `INSERT INTO kakeya.chunks (body, chunk, bytes, crc)
     SELECT b.body, $2, $3, $4 FROM (SELECT body FROM kakeya.bodies WHERE body = $1 FOR KEY SHARE) b
     ON CONFLICT (body, chunk) DO UPDATE SET crc = excluded.crc RETURNING body`,
    [body, chunk, bytes, checksum(chunk, bytes)],
  );
  if (written.length === 0) throw new StateError("lost-lease", "a snapshot took longer than this server's lease");
}

/** Removes a body that no session has. */
export async function removeUnused(query: Query, body: number): Promise<void> {
  await query(
    `WITH gone AS (
       DELETE FROM kakeya.bodies b WHERE b.body = $1
       AND NOT EXISTS (SELECT FROM kakeya.snapshots p WHERE p.body = b.body) RETURNING b.body)
     DELETE FROM kakeya.chunks c USING gone WHERE c.body = gone.body`,
    [body],
  );
}

/** Removes what servers that are gone left unfinished. */
export async function removeAbandoned(link: Link): Promise<void> {
  await link.run((query) =>
    query(
      `WITH gone AS (
         DELETE FROM kakeya.bodies b WHERE NOT ${alive("b.server")}
         AND NOT EXISTS (SELECT FROM kakeya.snapshots p WHERE p.body = b.body) RETURNING b.body)
       DELETE FROM kakeya.chunks c USING gone WHERE c.body = gone.body`,
    ),
  );
}

/**
 * Within a transaction that has locked the session: the body takes the place of the less useful generation.
 * @returns bytes of both; the position from which on all ids are needed, 0 when there are not two of them; and the bodies
 * that it does not have any more, which take too long to remove under that lock
 */
export async function addSnapshot(
  query: Query,
  key: number,
  { body, bytes, facts }: Written,
): Promise<{ snapshotBytes: number; neededFrom: number; replaced: number[] }> {
  const before = byUse(await generations(query, key), facts.facts).filter((generation) => generation.body !== body);
  const replaced = before.slice(0, -1).map((old) => old.body);
  const kept = before.slice(-1);
  for (const old of replaced) {
    await query("DELETE FROM kakeya.snapshots WHERE session = $1 AND body = $2", [key, old]);
  }
  await insertSnapshot(query, key, { body, bytes, facts });
  const both = byUse([...kept, { body, bytes, facts }], facts.facts);
  const [older] = both.length < 2 ? [] : both;
  return {
    snapshotBytes: both.reduce((sum, generation) => sum + generation.bytes, 0),
    replaced,
    neededFrom: older !== undefined && isOf(older, facts.facts) ? (older.facts?.position ?? 0) : 0,
  };
}

/** Within a transaction that has locked the session: the newest one with at most `atMost` tokens, whatever its facts. */
export async function newestUpTo(query: Query, key: number, atMost: number): Promise<Written | undefined> {
  const usable = (await generations(query, key)).flatMap(({ facts, ...generation }) =>
    facts !== undefined && facts.position <= atMost ? [{ ...generation, facts }] : [],
  );
  return usable.sort((a, b) => b.facts.position - a.facts.position)[0];
}

/** Done twice, it is there once. */
export async function insertSnapshot(query: Query, key: number, { body, bytes, facts }: Written): Promise<void> {
  const text = JSON.stringify(facts);
  await query(
    `INSERT INTO kakeya.snapshots (session, body, position, facts, bytes, crc) VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT DO NOTHING`,
    [key, body, facts.position, text, bytes, factsChecksum(text, bytes)],
  );
}

/** Within a transaction that has locked the session. */
export async function removeSnapshots(query: Query, key: number): Promise<void> {
  const removed = await query("DELETE FROM kakeya.snapshots WHERE session = $1 RETURNING body", [key]);
  for (const { body } of removed) await removeUnused(query, Number(body));
}

/**
 * Within one view of the database: the newest good snapshot with these facts, or any, that holds at most `atMost` tokens, and
 * the bodies that are damaged.
 */
export async function loadNewest(
  query: Query,
  key: number,
  facts: Facts | undefined,
  atMost: number,
): Promise<LoadedSnapshot & { damaged: number[] }> {
  const setAside: string[] = [];
  const damaged: number[] = [];
  for (const generation of byUse(await generations(query, key, setAside, damaged), facts).reverse()) {
    if (!isOf(generation, facts) || generation.facts === undefined || generation.facts.position > atMost) continue;
    try {
      const body = await readBody(query, generation);
      return { snapshot: { ...generation.facts, body: [body] }, setAside, damaged };
    } catch (error) {
      if (!(error instanceof Damaged)) throw error;
      setAside.push(`the snapshot at position ${generation.facts.position} was damaged (${error.message})`);
      damaged.push(generation.body);
    }
  }
  return { setAside, damaged };
}

/** A damaged one is neither loaded nor kept any more. */
export async function setAside(query: Query, key: number, body: number): Promise<void> {
  await query("UPDATE kakeya.snapshots SET damaged = true WHERE session = $1 AND body = $2", [key, body]);
}

class Damaged extends Error {}

async function readBody(query: Query, { body, bytes }: Generation): Promise<Uint8Array> {
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (let chunk = 0; at < bytes; chunk++) {
    const [row] = await query("SELECT bytes, crc FROM kakeya.chunks WHERE body = $1 AND chunk = $2", [body, chunk]);
    if (row === undefined) throw new Damaged(`it ends at byte ${at}`);
    const part = row.bytes as Buffer; // bytea
    if (Number(row.crc) !== checksum(chunk, part) || at + part.length > bytes || part.length === 0) {
      throw new Damaged(`the checksum of bytes ${at} to ${at + part.length - 1} is wrong`);
    }
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

async function generations(
  query: Query,
  key: number,
  setAside: string[] = [],
  damaged: number[] = [],
): Promise<Generation[]> {
  const rows = await query(
    "SELECT body, facts, bytes, damaged, crc FROM kakeya.snapshots WHERE session = $1 ORDER BY body",
    [key],
  );
  return rows.map((row) => {
    const found = { body: Number(row.body), bytes: Number(row.bytes) };
    if (row.damaged === true) return { ...found, facts: undefined };
    const facts = factsFrom(row);
    if (facts === undefined) {
      setAside.push("a snapshot was damaged (the checksum of its facts is wrong)");
      damaged.push(found.body);
    }
    return { ...found, facts };
  });
}

function factsFrom(row: Row): SnapshotFacts | undefined {
  const text = String(row.facts);
  if (Number(row.crc) !== factsChecksum(text, Number(row.bytes))) return undefined;
  return snapshotFactsFrom(JSON.parse(text));
}

/** The one to replace first, the one to load last. */
function byUse(generations: Generation[], facts: Facts | undefined): Generation[] {
  const use = (generation: Generation) => (isOf(generation, facts) ? (generation.facts?.position ?? -1) : -1);
  return generations.sort((a, b) => use(a) - use(b));
}

function isOf(generation: Generation, facts: Facts | undefined): boolean {
  if (generation.facts === undefined) return false;
  return facts === undefined || differences(generation.facts.facts, facts).length === 0;
}

/** Covers the place as well. */
function checksum(chunk: number, bytes: Uint8Array): number {
  return crc32(bytes, crc32(String(chunk)));
}

function factsChecksum(text: string, bytes: number): number {
  return crc32(`${bytes} ${text}`);
}
