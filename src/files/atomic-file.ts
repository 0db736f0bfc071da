/** The one way to write a file: write beside it, flush, rename over it, flush the folder. */

import { closeSync, fchmodSync, fsyncSync, openSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { partPath } from "./part.ts";

/** Text in pieces: in one piece, that of a very long run would take gigabytes. */
export type Content = string | Uint8Array | Iterable<string>;

/**
 * Puts `content` at `path`, whole or not at all: a reader, a crash or a full disk never sees half of it. An existing
 * file keeps its mode, and a new one gets `mode` (0666) less the umask. An existing link is itself replaced.
 * @throws Error that names `path`; what was there stays as it was
 */
export function writeFileAtomically(path: string, content: Content, { mode }: { mode?: number } = {}): void {
  const part = partPath(path);
  try {
    const file = openSync(part, "wx", mode ?? 0o666);
    try {
      const kept = mode ?? statSync(path, { throwIfNoEntry: false })?.mode;
      if (kept !== undefined) fchmodSync(file, (kept & 0o777) | 0o600);
      for (const piece of piecesOf(content)) writeAll(file, piece);
    } finally {
      closeSync(file);
    }
    publish(part, path);
  } catch (cause) {
    rmSync(part, { force: true });
    throw new Error(`can't write ${path}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

/**
 * The same for bytes that come in many steps: `write` gets an empty file of `mode`, and this thread is not blocked.
 * Throws what `write` and the file system say; what was there stays as it was.
 */
export async function writeAtomically(
  path: string,
  mode: number,
  write: (file: FileHandle) => Promise<void>,
): Promise<void> {
  const part = partPath(path);
  try {
    await withHandle(await open(part, "wx", mode), async (file) => {
      await write(file);
      await file.sync();
    });
    await rename(part, path);
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
  await withHandle(await open(dirname(path)), (folder) => folder.sync());
}

async function withHandle(file: FileHandle, use: (file: FileHandle) => Promise<void>): Promise<void> {
  try {
    await use(file);
  } finally {
    await file.close();
  }
}

/** Gives a finished file or folder its name. Throws what the file system says. */
export function publish(part: string, target: string): void {
  flush(part);
  renameSync(part, target);
  // A rename survives a loss of power only once its folder is on the disk.
  flush(dirname(target));
}

/** Flushes a file's bytes, or a folder's names. */
function flush(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

export function* piecesOf(content: Content): Generator<Uint8Array> {
  if (content instanceof Uint8Array) yield content;
  else for (const piece of typeof content === "string" ? [content] : content) yield new TextEncoder().encode(piece);
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
}
