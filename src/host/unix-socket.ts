import { lstatSync, statSync, unlinkSync } from "node:fs";
import { connect } from "node:net";
import { dirname } from "node:path";
import { UsageError } from "../cli/exit.ts";

/**
 * Makes sure that a server may listen at `path`: nothing is there, or the socket of a server that was killed.
 * Changes nothing.
 * @throws UsageError when anything else is there, or the folder is missing
 */
export async function requireSocketPath(path: string): Promise<void> {
  if (!statSync(dirname(path), { throwIfNoEntry: false })?.isDirectory()) {
    throw refused(path, `there is no folder ${dirname(path)}`);
  }
  if (ownSocketAt(path) && (await isAnswered(path))) throw refused(path, "another server listens there");
}

/** Removes the socket that a killed server left at `path`. @throws UsageError, like `requireSocketPath` */
export async function removeStaleSocket(path: string): Promise<void> {
  await requireSocketPath(path);
  // Looked at once more: what came while we waited for an answer is not ours to remove.
  if (ownSocketAt(path)) unlinkSync(path);
}

/** False when nothing is there. A link is not followed: its target may be anybody's. */
function ownSocketAt(path: string): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return false;
  if (!found.isSocket()) throw refused(path, "what is there is no socket");
  const user = process.geteuid?.();
  if (user !== undefined && found.uid !== user) {
    throw refused(path, `the socket belongs to user ${found.uid}, this is user ${user}`);
  }
  return true;
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
  return new UsageError(`--bind unix:${path}: ${why}; name a path where nothing is`);
}
