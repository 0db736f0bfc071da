/**
 * The names under which files and folders are written beside their place, `<name>.<machine>-<pid>-<random>.part`,
 * and what becomes of those whose writer was killed.
 */

import { createHash, randomBytes } from "node:crypto";
import { readdirSync, readFileSync, readlinkSync, renameSync, rmSync, statSync } from "node:fs";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { codeOf } from "./file-error.ts";

const partName = /\.([0-9a-f]{8})-(\d+)-[0-9a-f]{12}\.part$/;

/** Parts of earlier versions, whose names say less: `<name>.<pid>.part`, `<name>.<pid>-<random>.part`. */
export const earlierPartName = /\.\d+(-[0-9a-f]{12})?\.part$/;

/**
 * We can't see the processes of another machine or container: their parts count as left over after this long without a
 * write. Flushing a large file to a slow disk takes minutes without one.
 */
const abandonedAfterMs = 3_600_000;

/** Where something is written before it gets the name `target`. */
export function partPath(target: string): string {
  return `${target}.${thisMachine()}-${process.pid}-${randomBytes(6).toString("hex")}.part`;
}

/** Removes what writers that died left in `dir`. Does what it can: another process may be doing the same. */
export function removeDeadParts(dir: string, nowMs = Date.now()): void {
  for (const name of namesIn(dir)) {
    if (isDeadPart(dir, name, nowMs)) removeIfPossible(join(dir, name));
  }
}

/**
 * Removes from `dir` what has a name like `names` and had no write for an hour. For folders in which only kakeya writes:
 * another program's files may have such names, too.
 */
export function removeAbandoned(dir: string, names: RegExp, nowMs = Date.now()): void {
  for (const name of namesIn(dir)) {
    if (names.test(name) && isAbandoned(join(dir, name), nowMs)) removeIfPossible(join(dir, name));
  }
}

/**
 * Takes over what a dead writer of `target` left. Returns its new name, under which nobody else takes it; undefined
 * when nothing was left.
 */
export function adoptDeadPart(target: string, nowMs = Date.now()): string | undefined {
  const dir = dirname(target);
  for (const name of namesIn(dir)) {
    if (name.replace(partName, "") !== basename(target) || !isDeadPart(dir, name, nowMs)) continue;
    const own = partPath(target);
    try {
      renameSync(join(dir, name), own);
      return own;
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error; // Another process was faster.
    }
  }
  return undefined;
}

function isDeadPart(dir: string, name: string, nowMs: number): boolean {
  const [, machine, pid] = partName.exec(name) ?? [];
  if (machine === undefined) return false;
  return machine === thisMachine() ? !isAlive(Number(pid)) : isAbandoned(join(dir, name), nowMs);
}

const isAbandoned = (part: string, nowMs: number) => nowMs - lastWriteMs(part) > abandonedAfterMs;

let machine: string | undefined;

/** Names where process ids mean the same processes: this boot of this machine, and this container on it. */
function thisMachine(): string {
  const parts = [
    hostname(),
    textOf(() => readFileSync("/proc/sys/kernel/random/boot_id", "utf8")),
    textOf(() => readlinkSync("/proc/self/ns/pid")),
  ];
  machine ??= createHash("sha256").update(parts.join("\n")).digest("hex").slice(0, 8);
  return machine;
}

/** Empty where the system has no such thing. */
function textOf(read: () => string): string {
  try {
    return read();
  } catch {
    return "";
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
    return codeOf(error) !== "ESRCH";
  }
}

function removeIfPossible(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch {
    // Not ours to remove, or read-only: it takes space and does no other harm.
  }
}
