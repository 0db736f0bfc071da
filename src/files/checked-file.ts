/**
 * Facts and a body in one file, which shows when a byte is not what was written. Writing and reading it neither copy
 * the body nor block the thread, and don't trust the disk.
 */

import { type FileHandle, open } from "node:fs/promises";
import { crc32 } from "node:zlib";
import { writeAtomically } from "./atomic-file.ts";
import {
  blockBytes,
  type CheckedHeader,
  decodeHeader,
  encodeHeader,
  type FileKind,
  factsLength,
  fileBytes,
  prefixBytes,
} from "./checked-header.ts";

export interface CheckedFile {
  /** JSON; its reader has to check what is in it. */
  facts: unknown;
  body: readonly Uint8Array[];
}

/**
 * Puts it at `path`, whole or not at all, readable by this user alone.
 * @returns the file's bytes
 */
export async function writeCheckedFile(path: string, kind: FileKind, { facts, body }: CheckedFile): Promise<number> {
  const bodyBytes = body.reduce((sum, piece) => sum + piece.byteLength, 0);
  const header = encodeHeader(kind, { facts, bodyBytes });
  await writeAtomically(path, 0o600, async (file) => {
    await writeAll(file, header);
    await writeAll(file, await writeBody(file, body));
  });
  return fileBytes(header.length, bodyBytes);
}

/** @returns the CRC of each block, little-endian */
async function writeBody(file: FileHandle, body: readonly Uint8Array[]): Promise<Uint8Array> {
  const crcs: number[] = [];
  let crc = 0;
  let filled = 0;
  for (const piece of body) {
    for (let at = 0; at < piece.length; ) {
      const slice = piece.subarray(at, at + blockBytes - filled);
      crc = crc32(slice, crc);
      await writeAll(file, slice);
      at += slice.length;
      filled += slice.length;
      if (filled === blockBytes) {
        crcs.push(crc);
        crc = filled = 0;
      }
    }
  }
  if (filled > 0) crcs.push(crc);
  const bytes = new Uint8Array(4 * crcs.length);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of crcs.entries()) view.setUint32(4 * i, value, true);
  return bytes;
}

/**
 * The facts alone.
 * @throws Error when they are not what was written, or the file's length does not follow from them; LaterVersion
 */
export async function readCheckedFacts(path: string, kind: FileKind): Promise<unknown> {
  return await withFile(path, async (file) => (await readHeader(file, kind)).header.facts);
}

/** @throws Error when any byte is not what was written; LaterVersion */
export async function readCheckedFile(path: string, kind: FileKind): Promise<{ facts: unknown; body: Uint8Array }> {
  return await withFile(path, async (file) => {
    const { header, bodyAt } = await readHeader(file, kind);
    return { facts: header.facts, body: await readBody(file, bodyAt, header.bodyBytes) };
  });
}

async function readHeader(file: FileHandle, kind: FileKind): Promise<{ header: CheckedHeader; bodyAt: number }> {
  const prefix = await readAll(file, 0, prefixBytes);
  const bytes = await readAll(file, 0, prefixBytes + factsLength(kind, prefix));
  const header = decodeHeader(kind, bytes);
  const { size } = await file.stat();
  const expected = fileBytes(bytes.length, header.bodyBytes);
  if (size !== expected) throw new Error(`it has ${size} bytes instead of ${expected}`);
  return { header, bodyAt: bytes.length };
}

async function readBody(file: FileHandle, bodyAt: number, bodyBytes: number): Promise<Uint8Array> {
  const body = new Uint8Array(bodyBytes);
  const blocks = Math.ceil(bodyBytes / blockBytes);
  const crcs = await readAll(file, bodyAt + bodyBytes, 4 * blocks);
  const view = new DataView(crcs.buffer);
  for (let block = 0; block < blocks; block++) {
    const part = body.subarray(block * blockBytes, (block + 1) * blockBytes);
    await readInto(file, part, bodyAt + block * blockBytes);
    if (crc32(part) !== view.getUint32(4 * block, true)) {
      throw new Error(`the checksum of bytes ${block * blockBytes} to ${block * blockBytes + part.length} is wrong`);
    }
  }
  return body;
}

async function withFile<T>(path: string, use: (file: FileHandle) => Promise<T>): Promise<T> {
  const file = await open(path, "r");
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten;
}

async function readAll(file: FileHandle, position: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await readInto(file, bytes, position);
  return bytes;
}

async function readInto(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesRead } = await file.read(bytes, at, bytes.length - at, position + at);
    if (bytesRead === 0) throw new Error(`it ends at byte ${position + at}`);
    at += bytesRead;
  }
}
