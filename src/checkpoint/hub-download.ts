import { createHash, type Hash } from "node:crypto";
import { createReadStream, rmSync, statSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { publish } from "../files/atomic-file.ts";
import { describeFileFailure } from "../files/disk-space.ts";
import { FileError } from "../files/file-error.ts";
import type { HubFile } from "./hub-files.ts";
import { ModelError } from "./model-error.ts";

/** A file to download, and the part of it that is on the disk already. */
export interface Download {
  file: HubFile;
  /** Where it goes when it is whole. */
  target: string;
  /** Where it grows; may hold its beginning. */
  part: string;
}

export interface DownloadOptions {
  /** The file's bytes from `offset` on. */
  bytesFrom(file: HubFile, offset: number): Promise<AsyncIterable<Uint8Array>>;
  /** Whether it makes sense to ask again after `error`. */
  mayPass(error: unknown): boolean;
  /** Waits before the next attempt; `failures` counts those in a row that brought nothing. */
  wait(failures: number): Promise<void>;
  onBytes(count: number): void;
}

/** It gives up after so many attempts in a row that brought no byte. */
const mostFailures = 5;

/**
 * Downloads one file: continues where the connection broke, checks the hash of the whole, and only then gives it its
 * name. When it fails, what it has stays on the disk for the next time, unless the content is wrong.
 *
 * Throws ModelError for wrong content, FileError when it can't be written, or what the last attempt threw.
 */
export async function download(work: Download, options: DownloadOptions): Promise<void> {
  const { file, target, part } = work;
  const resumedFrom = sizeOf(part);
  const found = await fetchWhole(work, options);
  if (found === file.hash.hex) return publish(part, target);
  rmSync(part);
  options.onBytes(-file.bytes);
  // Another process wrote the beginning: try once more without it.
  if (resumedFrom > 0) return download(work, options);
  throw new ModelError(
    file.path,
    `arrived with the hash ${found}, but the hub says ${file.hash.hex}; it was thrown away`,
    "Try again; if that does not help, a proxy or a mirror on the way changes it",
  );
}

/** Fills the part up to the file's size; returns the hash of all of it. */
async function fetchWhole({ file, part }: Download, options: DownloadOptions): Promise<string> {
  const hash = hasher(file);
  let done = Math.min(sizeOf(part), file.bytes);
  const handle = await openPart(part, done);
  try {
    if (done > 0) for await (const chunk of createReadStream(part)) hash.update(chunk);
    for (let failures = 0; done < file.bytes; ) {
      const before = done;
      try {
        for await (const chunk of await options.bytesFrom(file, done)) {
          // More than was asked for has no place in the file: the hash of what was asked for decides.
          const wanted = chunk.subarray(0, file.bytes - done);
          await write(handle, part, wanted);
          hash.update(wanted);
          done += wanted.length;
          options.onBytes(wanted.length);
          if (done === file.bytes) break;
        }
        if (done < file.bytes) throw new Error(`the connection ended after ${done} of ${file.bytes} bytes`);
      } catch (error) {
        failures = done > before ? 1 : failures + 1;
        if (error instanceof FileError || !options.mayPass(error) || failures > mostFailures) throw error;
        await options.wait(failures);
      }
    }
  } finally {
    await handle.close();
  }
  return hash.digest("hex");
}

/** Git's hash of a file begins with its size. */
function hasher({ hash, bytes }: HubFile): Hash {
  return hash.algorithm === "sha256" ? createHash("sha256") : createHash("sha1").update(`blob ${bytes}\0`);
}

async function openPart(part: string, size: number): Promise<FileHandle> {
  try {
    const handle = await open(part, "a");
    await handle.truncate(size);
    return handle;
  } catch (error) {
    throw describeFileFailure(part, error, "HF_HUB_CACHE");
  }
}

async function write(handle: FileHandle, part: string, bytes: Uint8Array): Promise<void> {
  try {
    for (let at = 0; at < bytes.length; ) at += (await handle.write(bytes, at)).bytesWritten;
  } catch (error) {
    throw describeFileFailure(part, error, "HF_HUB_CACHE");
  }
}

/** 0 for a file that is not there. */
export function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
