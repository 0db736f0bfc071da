/** What went wrong with the state folder, in terms of what can be done about it. */
export type StateErrorKind =
  /** No space, or no quota: nothing was changed. Free some space and try again. */
  | "full"
  /** The folder can't be used as it is: not ours, not writable, holds other files. */
  | "unusable"
  /** Another server holds it. */
  | "in-use"
  /** A later kakeya wrote it. */
  | "newer"
  /** The disk returns other bytes than were written. */
  | "damaged"
  /** There is no such session. */
  | "not-found"
  /** There is such a session already. */
  | "exists"
  /** The journal is bounded, and the ids that this takes have been dropped. */
  | "dropped"
  /** The ids don't continue the journal: they leave a gap or overlap. */
  | "out-of-order"
  /** The session is not this server's any more: another may have taken it over since. */
  | "lost-lease"
  /** Another live server has the session. */
  | "held"
  /** The database can't be reached. What was being written may have been written, or not. */
  | "unreachable";

export class StateError extends Error {
  override name = "StateError";
  constructor(
    readonly kind: StateErrorKind,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

const systemErrors: Record<string, [StateErrorKind, string]> = {
  ENOSPC: ["full", "the disk is full; free some space and try again"],
  EDQUOT: ["full", "the quota is used up; free some space and try again"],
  EFBIG: ["full", "the file may not grow any further; raise the limit on file sizes"],
  SQLITE_FULL: ["full", "the disk is full; free some space and try again"],
  SQLITE_IOERR_SHMSIZE: ["full", "the disk is full; free some space and try again"],
  SQLITE_IOERR_WRITE: ["full", "the disk takes no more; free some space and try again"],
  SQLITE_CORRUPT: ["damaged", "the journal is damaged; restore the folder from a backup"],
  SQLITE_NOTADB: ["damaged", "the journal is no database any more; restore the folder from a backup"],
  SQLITE_BUSY: ["in-use", "another process holds the journal; try again when it has ended"],
  SQLITE_READONLY: ["unusable", "the folder can't be written; make it writable or name another one"],
  SQLITE_CANTOPEN: ["unusable", "the journal can't be opened; make the folder writable or name another one"],
  EACCES: ["unusable", "the folder can't be written; make it writable or name another one"],
  EPERM: ["unusable", "the folder can't be written; make it writable or name another one"],
  EROFS: ["unusable", "the file system is read-only; make it writable or name another one"],
  ENOTDIR: ["unusable", "a file is where a folder should be; name another one"],
  EEXIST: ["unusable", "something else has this name; name another folder"],
};

/** What a failure of the file system or of SQLite means to the user of `dir`; other errors stay what they are. */
export function stateErrorOf(dir: string, error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof StateError || !("code" in error)) return error;
  const code = String(error.code);
  // SQLITE_IOERR_WRITE and the like: the exact code first, then the family that it belongs to.
  const known = systemErrors[code] ?? systemErrors[code.split("_").slice(0, 2).join("_")];
  if (known === undefined) return error;
  const [kind, words] = known;
  return new StateError(kind, `${dir}: ${words} (${error.message})`, { cause: error });
}
