import { type BigIntStats, linkSync, lstatSync, renameSync, statSync, unlinkSync } from "node:fs";
import { connect } from "node:net";
import { dirname } from "node:path";
import { UsageError } from "../cli/exit.ts";

/**
 * Makes sure that a server may listen at `path`: nothing is there, or the socket of a server that was killed. Changes
 * nothing. Returns that stale socket.
 * @throws UsageError when anything else is there, or the folder is missing
 */
export async function requireSocketPath(path: string): Promise<BigIntStats | undefined> {
  if (!statSync(dirname(path), { throwIfNoEntry: false })?.isDirectory()) {
    throw refused(path, `there is no folder ${dirname(path)}`);
  }
  const socket = ownSocketAt(path);
  if (socket !== undefined && (await isAnswered(path))) throw refused(path, inUse);
  return socket;
}

const inUse = "another server listens there";

/** Removes the socket that a killed server left at `path`. @throws UsageError, like `requireSocketPath` */
export async function removeStaleSocket(path: string): Promise<void> {
  const stale = await requireSocketPath(path);
  if (stale === undefined || ownSocketAt(path) === undefined) return;
  // What is there now may be another server's, which found the same stale socket: it is taken aside before it is judged.
  const aside = `${path}.${process.pid}`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if (isCode(error, "ENOENT")) return; // The other server is between removing and listening.
    throw error;
  }
  const taken = lstatSync(aside, { bigint: true });
  const isStale = taken.dev === stale.dev && taken.ino === stale.ino && taken.mtimeNs === stale.mtimeNs;
  if (!isStale) putBack(aside, path);
  unlinkSync(aside);
  if (!isStale) throw refused(path, inUse);
}

/** Unlike a rename, a link replaces nothing. */
function putBack(aside: string, path: string): void {
  try {
    linkSync(aside, path);
  } catch (error) {
    if (!isCode(error, "EEXIST")) throw error;
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

/** Undefined when nothing is there. A link is not followed: its target may be anybody's. */
function ownSocketAt(path: string): BigIntStats | undefined {
  const found = lstatSync(path, { throwIfNoEntry: false, bigint: true });
  if (found === undefined) return undefined;
  if (!found.isSocket()) throw refused(path, "what is there is not a socket");
  const user = process.geteuid?.();
  if (user !== undefined && found.uid !== BigInt(user)) {
    throw refused(path, `the socket belongs to user ${found.uid}, this is user ${user}`);
  }
  return found;
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = connect(path, () => {
      probe.destroy();
      resolve(true);
    });
    probe.on("error", ({ code, message }: NodeJS.ErrnoException) => {
      if (code === "ECONNREFUSED" || code === "ENOENT") resolve(false);
      else reject(refused(path, message));
    });
  });
}

function refused(path: string, why: string): UsageError {
  return new UsageError(`--bind unix:${path}: ${why}; choose a path where nothing is`);
}
