/** The journal's database: its tables, and how it is opened. */

import { Database } from "bun:sqlite";
import { join } from "node:path";
import { StateError } from "./errors.ts";
import { createPrivate, journalName } from "./folder.ts";

/** "kkya" marks our database, so that no other program's is taken for it. */
const applicationId = 0x6b6b7961;
const schemaVersion = 1;

/**
 * `crc` is a checksum of the row's other columns: SQLite notices a torn write, not a flipped bit. A session's ids are
 * packed into rows of `chunkTokens`, of which only the last one changes; it fills one page, so that a step writes one
 * page a session and a token takes little more than its 4 bytes.
 */
const tables = `
CREATE TABLE sessions (
  key INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: files are named by it
  id TEXT NOT NULL UNIQUE,
  label TEXT NOT NULL,
  eos BLOB NOT NULL,                     -- u32 each
  facts TEXT NOT NULL,                   -- JSON
  created_ms INTEGER NOT NULL,
  active_ms INTEGER NOT NULL,
  tokens INTEGER NOT NULL,
  generated INTEGER NOT NULL,
  replayed INTEGER NOT NULL,
  kept_from INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  snapshot_bytes INTEGER NOT NULL,
  crc INTEGER NOT NULL
) STRICT;
CREATE TABLE journal (
  session INTEGER NOT NULL,
  chunk INTEGER NOT NULL,                -- positions chunk * 1000 and on
  ids BLOB NOT NULL,                     -- u32 each, little-endian
  crc INTEGER NOT NULL,
  UNIQUE (session, chunk)
) STRICT;
CREATE TABLE server (words TEXT NOT NULL) STRICT; -- who serves the folder, for the error of a second one
`;

/** When an id is safe: once the system has it (a killed process loses nothing), or once the disk has it. */
export type Sync = "normal" | "full";

/** @throws StateError newer, damaged; Error of SQLite */
export function openDatabase(dir: string, sync: Sync): Database {
  const path = join(dir, journalName);
  createPrivate(path);
  const database = new Database(path, { readwrite: true, strict: true });
  try {
    // Another process may hold the journal for a moment, while it begins a read or imports.
    database.run("PRAGMA busy_timeout = 5000");
    checkVersion(database, path);
    database.run("PRAGMA journal_mode = WAL");
    database.run(`PRAGMA synchronous = ${sync}`);
    database.run("PRAGMA journal_size_limit = 16777216");
    database.run("PRAGMA secure_delete = ON"); // A session that is closed is gone.
    if (versionOf(database) === 0) {
      database.transaction(() => {
        database.run(tables);
        database.run(`PRAGMA application_id = ${applicationId}`);
        database.run(`PRAGMA user_version = ${schemaVersion}`);
      })();
    }
    checkTables(database, path);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** Opens the journal as it is, with a server running or not; nothing is created or changed. */
export function openDatabaseToRead(dir: string): Database {
  const path = join(dir, journalName);
  // A read-only connection would leave files behind when it is the last one.
  const database = new Database(path, { readwrite: true, strict: true });
  try {
    database.run("PRAGMA busy_timeout = 5000");
    database.run("PRAGMA query_only = ON");
    checkVersion(database, path);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

function checkVersion(database: Database, path: string): void {
  const version = versionOf(database);
  const application = numberOf(database, "application_id");
  if (version === 0 && application === 0) return;
  if (application !== applicationId) {
    throw new StateError("unusable", `${path} is another program's database; name another folder`);
  }
  if (version > schemaVersion) {
    const words = `${path} was written by a later kakeya (version ${version}, this one reads ${schemaVersion})`;
    throw new StateError("newer", `${words}: use that one, or name another folder`);
  }
}

/**
 * Checks that the tables are as they were made and that the sessions' index is whole: a flipped bit there would make a
 * session look closed. That table is small; ids are checked when they are read.
 */
function checkTables(database: Database, path: string): void {
  const [problem] = database.query<{ integrity_check: string }, []>("PRAGMA integrity_check(sessions)").all();
  if (problem?.integrity_check !== "ok") throw damaged(path, String(problem?.integrity_check));
  using fresh = new Database(":memory:");
  fresh.run(tables);
  if (!Bun.deepEquals(tablesOf(database), tablesOf(fresh)))
    throw damaged(path, "its tables are not the ones it was made with");
}

function tablesOf(database: Database): unknown[] {
  return database.query("SELECT name, sql FROM sqlite_schema ORDER BY name").all();
}

function damaged(path: string, what: string): StateError {
  return new StateError("damaged", `${path} is damaged (${what}); restore the folder from a backup`);
}

function versionOf(database: Database): number {
  return numberOf(database, "user_version");
}

function numberOf(database: Database, pragma: "user_version" | "application_id"): number {
  return Number(database.query(`PRAGMA ${pragma}`).values()[0]?.[0]);
}
