/** The tables in Postgres, and how a database comes to have this version of them. */

import { StateError } from "../errors.ts";
import type { Link, Query } from "./link.ts";

/**
 * What makes version n + 1 out of version n. None is changed once it was released: what comes later is added.
 *
 * `crc` is a checksum of what a row holds, as in a state folder: Postgres itself checks its pages only where the
 * cluster was made with data checksums.
 *
 * Postgres writes a changed row anew, so a step adds rows of its ids to the journal instead of changing one. Each
 * snapshot packs them: one row for 1000 ids. No row has ids on both sides of a multiple of 1000.
 */
const migrations = [
  `
CREATE TABLE kakeya.servers (
  server bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- one run of one server: never used twice
  name text NOT NULL,
  expires_at timestamptz NOT NULL                         -- by this database's clock; one that has passed stays so
) WITH (fillfactor = 50);
CREATE TABLE kakeya.sessions (
  key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id text COLLATE "C" NOT NULL UNIQUE,
  label text NOT NULL,
  eos bytea NOT NULL,                                     -- u32 each, little-endian
  facts text NOT NULL,                                    -- JSON
  created_ms bigint NOT NULL,
  active_ms bigint NOT NULL,
  -- Indexed by the hour, so that a write changes an index once an hour, and else only the row in its page (HOT).
  active_hour bigint NOT NULL GENERATED ALWAYS AS (active_ms / 3600000) STORED,
  tokens bigint NOT NULL,
  generated bigint NOT NULL,
  replayed bigint NOT NULL,
  kept_from bigint NOT NULL,
  epoch bigint NOT NULL,
  owner bigint,                                           -- of kakeya.servers; NULL: anybody may take it
  snapshot_bytes bigint NOT NULL,
  crc bigint NOT NULL                                     -- of what does not change with its ids
) WITH (fillfactor = 70);
CREATE INDEX sessions_active_hour ON kakeya.sessions (active_hour);
CREATE TABLE kakeya.journal (
  session bigint NOT NULL,
  position bigint NOT NULL,                               -- of the first id
  ids bytea NOT NULL,                                     -- u32 each, little-endian
  crc bigint NOT NULL,
  PRIMARY KEY (session, position)
);
ALTER TABLE kakeya.journal ALTER ids SET STORAGE EXTERNAL;
CREATE TABLE kakeya.bodies (
  body bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  server bigint NOT NULL                                  -- who writes it
);
CREATE TABLE kakeya.chunks (
  body bigint NOT NULL,
  chunk integer NOT NULL,
  bytes bytea NOT NULL,
  crc bigint NOT NULL,
  PRIMARY KEY (body, chunk)
);
ALTER TABLE kakeya.chunks ALTER bytes SET STORAGE EXTERNAL;
CREATE TABLE kakeya.snapshots (                           -- two at most of each session
  session bigint NOT NULL,
  body bigint NOT NULL,                                   -- forks share it
  position bigint NOT NULL,
  facts text NOT NULL,                                    -- JSON, with the counts
  bytes bigint NOT NULL,
  damaged boolean NOT NULL DEFAULT false,
  crc bigint NOT NULL,
  PRIMARY KEY (session, body)
);
CREATE INDEX snapshots_body ON kakeya.snapshots (body);
CREATE TABLE kakeya.wanted (                              -- sessions that another server has calls for
  session bigint PRIMARY KEY,
  owner bigint NOT NULL                                   -- whom it asks
);
CREATE INDEX wanted_owner ON kakeya.wanted (owner);
`,
];

/** Of all servers that begin with the same database at the same time, one makes the tables. */
const lock = 0x6b6b7961;

/** @throws StateError newer, unusable, unreachable */
export async function migrate(link: Link): Promise<void> {
  if ((await link.run(checkedVersion(link.shown))) === migrations.length) return;
  await link.transaction(async (query) => {
    await query("SELECT pg_advisory_xact_lock($1)", [lock]);
    const from = await checkedVersion(link.shown)(query);
    if (from === undefined) {
      await query("CREATE SCHEMA IF NOT EXISTS kakeya");
      await query("CREATE TABLE kakeya.version (version integer NOT NULL)");
      await query("INSERT INTO kakeya.version VALUES (0)");
    }
    for (const tables of migrations.slice(from ?? 0)) await query(tables);
    await query("UPDATE kakeya.version SET version = $1", [migrations.length]);
  });
}

/** @throws StateError unusable where there are no tables of this version to read */
export async function requireTables(link: Link): Promise<void> {
  if ((await link.run(checkedVersion(link.shown))) === migrations.length) return;
  throw new StateError("unusable", `${link.shown} holds no sessions yet; name the one of serve --state`);
}

/** Undefined: there are no tables. */
function checkedVersion(shown: string): (query: Query) => Promise<number | undefined> {
  return async (query) => {
    // Not by to_regclass, which within a transaction may not know yet what another one has made.
    const [table] = await query(
      "SELECT tablename FROM pg_tables WHERE schemaname = 'kakeya' AND tablename = 'version'",
    );
    if (table === undefined) return undefined;
    const version = Number((await query("SELECT version FROM kakeya.version"))[0]?.version);
    if (version <= migrations.length) return version;
    const words = `${shown} was written by a later kakeya (version ${version}, this one reads ${migrations.length})`;
    throw new StateError("newer", `${words}: use that one, or name another database`);
  };
}
