/** The folder that holds what users said: private, whole, and used by one server at a time. */

import { Database } from "bun:sqlite";
import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import { StateError, stateErrorOf } from "./errors.ts";

export const journalName = "journal.db";
export const snapshotsName = "snapshots";
const lockName = "lock";

/**
 * Creates `dir` for this user alone, or makes sure that it is a state folder that nobody else can change.
 * @throws StateError unusable
 */
export function privateFolder(dir: string): void {
  try {
    if (mkdirSync(dir, { recursive: true, mode: 0o700 }) !== undefined) chmodSync(dir, 0o700);
    const { uid, mode } = statSync(dir);
    const self = process.getuid?.();
    if (self !== undefined && uid !== self) {
      throw new StateError(
        "unusable",
        `${dir} belongs to user ${uid}, this is user ${self}; name a folder of your own`,
      );
    }
    if ((mode & 0o022) !== 0) {
      throw new StateError("unusable", `others can write to ${dir}: run chmod 700 on it, or name another folder`);
    }
    accessSync(dir, constants.R_OK | constants.W_OK | constants.X_OK);
    refuseOtherFiles(dir);
  } catch (error) {
    throw stateErrorOf(dir, error);
  }
}

/** @throws StateError unusable when there is no journal */
export function requireStateFolder(dir: string): void {
  if (existsSync(join(dir, journalName))) return;
  throw new StateError(
    "unusable",
    `${dir} is not a state folder: it has no ${journalName}; name the one of serve --state`,
  );
}

function refuseOtherFiles(dir: string): void {
  const names = readdirSync(dir);
  // A new file system has lost+found in it.
  const other = names.find((name) => name !== lockName && name !== "lost+found");
  if (other === undefined || names.includes(journalName)) return;
  throw new StateError("unusable", `${dir} holds other files ("${other}"); name an empty or a new folder`);
}

/**
 * Holds the folder until disposed, or until the process ends in any way: the kernel holds the lock, on a database that
 * stays empty. Nothing else in this process may open that file: POSIX drops a process's locks with the first descriptor
 * that is closed.
 *
 * @param holder describes who holds it, for the error
 * @throws StateError in-use
 */
export function lockFolder(dir: string, holder: () => string): Disposable {
  const path = join(dir, lockName);
  createPrivate(path);
  const database = new Database(path, { readwrite: true });
  try {
    database.run("PRAGMA journal_mode = MEMORY"); // or else SQLite puts a file beside it
    database.run("BEGIN EXCLUSIVE");
  } catch (error) {
    database.close();
    const known = stateErrorOf(dir, error);
    if (known instanceof StateError && known.kind === "in-use") {
      throw new StateError("in-use", `${dir} is in use by ${holder()}; stop it, or name another folder`, {
        cause: error,
      });
    }
    throw known;
  }
  return { [Symbol.dispose]: () => database.close() };
}

/** An empty file that only this user can read, unless there is one. SQLite gives its other files the same mode. */
export function createPrivate(path: string): void {
  try {
    closeSync(openSync(path, "wx", 0o600));
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  }
}
