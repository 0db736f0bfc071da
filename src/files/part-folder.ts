/** Folders that are written beside their place and renamed into it when they are whole. */

import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";

const partName = /\.(\d+)-[0-9a-f]+\.part$/;

/**
 * A folder without a write for this long and without a living writer is left over. The time is there because a
 * process id says nothing where several machines or containers share the cache; flushing a large file to a slow disk
 * takes minutes without a write.
 */
const abandonedAfterMs = 600_000;

/** Makes `<target>.<pid>-<random>.part`. */
export function newPartFolder(target: string): string {
  const part = partPath(target);
  mkdirSync(part);
  return part;
}

function partPath(target: string): string {
  return `${target}.${process.pid}-${randomBytes(6).toString("hex")}.part`;
}

/**
 * Renames the finished `part` to `target`. Where another process was faster, its folder stays and what `existing`
 * reads in it is returned; where an unusable folder is in the way (`existing` is undefined), it is replaced.
 */
export function publishFolder<T>(part: string, target: string, existing: () => T | undefined): T | undefined {
  flushFolder(part);
  if (!renamed(part, target)) {
    const other = existing();
    if (other !== undefined) return other;
    const aside = partPath(target);
    renameSync(target, aside);
    renameSync(part, target);
    rmSync(aside, { recursive: true, force: true });
  }
  flushFolder(dirname(target));
  return undefined;
}

/** False when something is in the way. */
function renamed(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOTEMPTY" || code === "EEXIST" || code === "ENOTDIR") return false;
    throw error;
  }
}

/** Makes the names in a folder survive a loss of power. */
function flushFolder(dir: string): void {
  const fd = openSync(dir, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Removes what writers that died left in `dir`. Does what it can: another process may be doing the same. */
export function removeDeadPartFolders(dir: string, nowMs = Date.now()): void {
  for (const name of namesIn(dir)) {
    const pid = partName.exec(name)?.[1];
    if (pid === undefined || isAlive(Number(pid))) continue;
    const part = join(dir, name);
    if (nowMs - lastWriteMs(part) > abandonedAfterMs) removeIfPossible(part);
  }
}

function lastWriteMs(part: string): number {
  const paths = [part, ...namesIn(part).map((name) => join(part, name))];
  return Math.max(...paths.map((path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0));
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return !(error instanceof Error && "code" in error && error.code === "ESRCH");
  }
}

function removeIfPossible(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch {
    // Not ours to remove, or read-only: it takes space, and nothing else.
  }
}
