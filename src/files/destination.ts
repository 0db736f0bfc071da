/**
 * Where a command's output goes: decided and checked before any work, so that hours of work are not lost at the end.
 */

import {
  accessSync,
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  readSync,
  realpathSync,
  rmSync,
  type Stats,
  statSync,
} from "node:fs";
import { dirname, resolve } from "node:path";
import { FileError } from "./file-error.ts";
import { partPath, removeDeadParts } from "./part.ts";

export interface DestinationRules {
  /** Files that the command reads, "-" for the standard input: they are never written over. */
  inputs: readonly string[];
  /** Whether an existing file may be replaced, by how it begins. */
  isOurs: (head: string) => boolean;
  /** Replace any file but an input. */
  force: boolean;
}

/**
 * - stdout: "-", or another name of descriptor 1;
 * - stream: a device, a FIFO, another open descriptor: written as it is, never replaced;
 * - file: a regular file, or none yet: written whole or not at all. A link to it stays a link.
 */
export interface Destination {
  kind: "stdout" | "stream" | "file";
  /** As it was given. */
  path: string;
  /** Where its links end. */
  target: string;
  rules: DestinationRules;
}

/**
 * Decides where `path` leads. Makes its folder when that is missing; writes nothing else.
 * @throws FileError when it can't be written, or must not be
 */
export function destination(path: string, rules: DestinationRules): Destination {
  const end = path === "-" ? "/dev/fd/1" : followLinks(path);
  const found = existing(path, end);
  if (found?.isFile() && rules.inputs.some((input) => isSame(input, found))) {
    throw new FileError(path, "is also an input, and would be lost", "Name another file");
  }
  const decided = (kind: Destination["kind"]): Destination => ({ kind, path, target: end, rules });
  if (ownDescriptor(end) === 1) return decided("stdout");
  if (descriptor.test(end)) return decided("stream");
  if (found?.isDirectory() || path.endsWith("/")) throw new FileError(path, "is a folder", "Name a file");
  if (found === undefined || found.isFile()) {
    if (found !== undefined) requireReplaceable(path, found, rules);
    requireWritableFolder(path, end);
    return decided("file");
  }
  if (found.isSocket()) throw new FileError(path, "is a socket", "Name a file");
  if (found.isBlockDevice() && !rules.force) {
    throw new FileError(path, "is a disk, whose contents would be lost", "Name a file, or overwrite it with --force");
  }
  requireAccess(path);
  return decided("stream");
}

const descriptor = /^\/(?:proc\/(self|\d+)\/fd|dev\/fd)\/(\d+)$/;

/** The number of an open descriptor of this process; undefined for any other path. */
function ownDescriptor(path: string): number | undefined {
  const [, process_ = "self", number] = descriptor.exec(path) ?? [];
  return number !== undefined && ["self", String(process.pid)].includes(process_) ? Number(number) : undefined;
}

/** Where links end: a path that is no link, whether or not something is there, or an open descriptor. */
function followLinks(path: string): string {
  let here = resolve(path);
  for (let hops = 0; hops < 40; hops++) {
    if (descriptor.test(here)) return here;
    const link = linkAt(here);
    if (link === undefined) return here;
    here = resolve(realpathSync(dirname(here)), link);
  }
  throw new FileError(path, "is a link that leads to itself", "Name another file");
}

function linkAt(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined; // No link, or nothing there.
  }
}

/** What is at the path; undefined when nothing is. */
function existing(path: string, end: string): Stats | undefined {
  try {
    const own = ownDescriptor(end);
    return own === undefined ? statSync(path, { throwIfNoEntry: false }) : fstatSync(own);
  } catch (error) {
    throw unwritable(path, error);
  }
}

function isSame(input: string, { dev, ino }: Stats): boolean {
  try {
    const other = input === "-" ? fstatSync(0) : statSync(input);
    return other.dev === dev && other.ino === ino;
  } catch {
    return false; // What can't be read is reported when it is read.
  }
}

/** Enough to recognize a file. */
const headBytes = 4096;

function requireReplaceable(path: string, { size }: Stats, { force, isOurs }: DestinationRules): void {
  requireAccess(path);
  // An empty file has nothing to lose; mktemp makes such files.
  if (force || size === 0 || isOurs(headOf(path))) return;
  const problem = "already exists, and kakeya did not write it";
  throw new FileError(path, problem, "Name another file, or replace this one with --force");
}

function headOf(path: string): string {
  try {
    const file = openSync(path, "r");
    try {
      const head = Buffer.alloc(headBytes);
      return head.toString("utf8", 0, readSync(file, head));
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw unwritable(path, error);
  }
}

function requireAccess(path: string): void {
  try {
    accessSync(path, constants.W_OK);
  } catch (error) {
    throw unwritable(path, error);
  }
}

/** Tries to write: permissions don't tell everything, least of all for root. */
function requireWritableFolder(path: string, end: string): void {
  try {
    mkdirSync(dirname(end), { recursive: true });
    removeDeadParts(dirname(end));
    const trial = partPath(end);
    closeSync(openSync(trial, "wx"));
    rmSync(trial);
  } catch (error) {
    throw unwritable(path, error);
  }
}

function unwritable(path: string, error: unknown): FileError {
  const message = error instanceof Error ? error.message : String(error);
  const why = message.replace(/, \w+ '.*$/s, ""); // the system's call, and the name of the trial file
  return new FileError(path, `can't be written (${why})`, "Use a folder that you can write to", { cause: error });
}
