/** SHA-256 of a part of a file, piece by piece, so that some of it can be checked alone. */

import { createHash } from "node:crypto";
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { isJsonObject } from "../checkpoint/json-file.ts";

export interface FileRange {
  file: string;
  /** Bytes. */
  offset: number;
  bytes: number;
}

export interface Digest {
  bytes: number;
  pieceBytes: number;
  /** Of each piece, in hex. */
  sha256: string[];
}

/** A part of a file, and what its bytes were when they were known to be good. */
export interface DigestedRange extends FileRange {
  digest: Digest;
}

/** Up to this many bytes are checked in full at every start: 10 ms, or 40 without the processor's own SHA-256. */
const smallBytes = 1 << 24;

/** Of larger ones this many pieces are checked, chosen anew at each start. */
const sampledPieces = 16;

const smallestPieceBytes = 1 << 20;
const mostPieces = 4096;

/** Reads the range from its beginning to its end; `onBytes` is told how many bytes each piece has. */
export function digestOf({ file, offset, bytes }: FileRange, onBytes: (bytes: number) => void = () => {}): Digest {
  let pieceBytes = smallestPieceBytes;
  while (bytes > pieceBytes * mostPieces) pieceBytes *= 2;
  const digest = { bytes, pieceBytes, sha256: Array.from({ length: Math.ceil(bytes / pieceBytes) }, () => "") };
  const fd = openSync(file, "r");
  try {
    for (const i of digest.sha256.keys()) {
      const piece = pieceAt({ file, offset, bytes, digest }, i);
      digest.sha256[i] = sha256Of(fd, piece) ?? "";
      onBytes(piece.bytes);
    }
  } finally {
    closeSync(fd);
  }
  return digest;
}

/** Whether all of a small range, or a random sample of a large one, is as it was. `random` gives [0, 1). */
export function looksIntact(range: DigestedRange, random: () => number = Math.random): boolean {
  if (!isSampled(range)) return isWhole(range);
  const count = range.digest.sha256.length;
  return arePieces(
    range,
    Array.from({ length: sampledPieces }, () => Math.floor(random() * count)),
  );
}

/** Whether every byte is as it was; reads the whole range before it answers. */
export function isWhole(range: DigestedRange): boolean {
  return arePieces(range, range.digest.sha256.keys());
}

function arePieces(range: DigestedRange, indices: Iterable<number>): boolean {
  const stats = statSync(range.file, { throwIfNoEntry: false });
  if (!stats?.isFile() || range.offset + range.bytes > stats.size || range.bytes !== range.digest.bytes) return false;
  const fd = openSync(range.file, "r");
  try {
    for (const i of indices) if (sha256Of(fd, pieceAt(range, i)) !== range.digest.sha256[i]) return false;
    return true;
  } finally {
    closeSync(fd);
  }
}

/** Whether a start checks only a part of it. */
export function isSampled({ bytes }: FileRange): boolean {
  return bytes > smallBytes;
}

/**
 * The same as `isWhole`, while others work: it reads a little at a time, and rests 99 times as long as that took. Steps
 * run on all cores, and each node of the graph waits for the slowest of them: a tenth of one core would be felt.
 * True when it was stopped.
 */
export async function staysWhole(range: DigestedRange, stop: AbortSignal): Promise<boolean> {
  const file = await open(range.file, "r").catch(() => undefined);
  if (file === undefined) return false;
  try {
    const buffer = new Uint8Array(1 << 18);
    for (const [i, expected] of range.digest.sha256.entries()) {
      const { offset, bytes } = pieceAt(range, i);
      const hash = createHash("sha256");
      for (let done = 0; done < bytes; ) {
        const startedAtMs = performance.now();
        const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, bytes - done), offset + done);
        if (bytesRead === 0) return false;
        hash.update(buffer.subarray(0, bytesRead));
        done += bytesRead;
        await sleep(99 * (performance.now() - startedAtMs));
        if (stop.aborted) return true;
      }
      if (hash.digest("hex") !== expected) return false;
    }
    return true;
  } finally {
    await file.close();
  }
}

/** Reads a digest from JSON; undefined when it is not one, or has too few or too many pieces. */
export function parseDigest(json: unknown): Digest | undefined {
  if (!isJsonObject(json)) return undefined;
  const { bytes, pieceBytes, sha256 } = json;
  if (typeof bytes !== "number" || typeof pieceBytes !== "number" || !Array.isArray(sha256)) return undefined;
  if (!(bytes >= 0 && pieceBytes > 0) || sha256.length !== Math.ceil(bytes / pieceBytes)) return undefined;
  const pieces = sha256.filter((piece): piece is string => typeof piece === "string");
  return pieces.length === sha256.length ? { bytes, pieceBytes, sha256: pieces } : undefined;
}

function pieceAt({ file, offset, bytes, digest: { pieceBytes } }: DigestedRange, i: number): FileRange {
  const start = i * pieceBytes;
  return { file, offset: offset + start, bytes: Math.min(pieceBytes, bytes - start) };
}

/** Undefined when the file ends before the piece does. */
function sha256Of(fd: number, { offset, bytes }: FileRange): string | undefined {
  const buffer = new Uint8Array(Math.min(bytes, smallestPieceBytes));
  const hash = createHash("sha256");
  for (let done = 0; done < bytes; ) {
    const got = readSync(fd, buffer, 0, Math.min(buffer.length, bytes - done), offset + done);
    if (got === 0) return undefined;
    hash.update(buffer.subarray(0, got));
    done += got;
  }
  return hash.digest("hex");
}
