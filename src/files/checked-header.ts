/**
 * The head of a checked file, little-endian:
 *
 *     8 bytes that name the kind, u32 version, u32 length of the facts, u32 CRC-32 of all of this but itself, facts as JSON
 *
 * Then the body as it is, and a CRC-32 of each `blockBytes` of it. So a single flipped bit anywhere is noticed, and so
 * is a file that is too short or too long. The first 20 bytes stay the same in every version.
 */

import { crc32 } from "node:zlib";

/** What a file is, and in which version this kakeya reads and writes it. */
export interface FileKind {
  /** 8 ASCII characters. */
  magic: string;
  /** "snapshot", for messages. */
  name: string;
  version: number;
}

/** A later kakeya wrote the file, which may well be good. */
export class LaterVersion extends Error {
  override name = "LaterVersion";
}

/** Bytes of the body under one CRC. */
export const blockBytes = 1 << 20;
export const prefixBytes = 20;
/** No more than this is allocated before anything is known of the file. */
export const maxFactsBytes = 64 << 10;

const crcAt = prefixBytes - 4;

export interface CheckedHeader {
  /** JSON; its reader has to check what is in it. */
  facts: unknown;
  bodyBytes: number;
}

export function encodeHeader(kind: FileKind, { facts, bodyBytes }: CheckedHeader): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify({ facts, bodyBytes }));
  if (json.length > maxFactsBytes) throw new RangeError(`the facts of a ${kind.name} take ${json.length} bytes`);
  const bytes = new Uint8Array(prefixBytes + json.length);
  const view = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode(kind.magic));
  view.setUint32(8, kind.version, true);
  view.setUint32(12, json.length, true);
  bytes.set(json, prefixBytes);
  view.setUint32(crcAt, headerCrc(bytes), true);
  return bytes;
}

/** How long the facts are. @throws Error when `prefix` does not begin a file of this kind */
export function factsLength(kind: FileKind, prefix: Uint8Array): number {
  if (new TextDecoder().decode(prefix.subarray(0, 8)) !== kind.magic) {
    throw new Error(`it does not begin like a ${kind.name}`);
  }
  const length = viewOf(prefix).getUint32(12, true);
  if (length > maxFactsBytes) throw new Error(`its facts would take ${length} bytes`);
  return length;
}

/**
 * @param bytes the prefix and the facts
 * @throws Error when they are not what was written; LaterVersion
 */
export function decodeHeader(kind: FileKind, bytes: Uint8Array): CheckedHeader {
  const view = viewOf(bytes);
  if (view.getUint32(crcAt, true) !== headerCrc(bytes)) throw new Error("the checksum of its facts is wrong");
  const version = view.getUint32(8, true);
  if (version !== kind.version) {
    throw new LaterVersion(`the ${kind.name} has version ${version}, this kakeya reads ${kind.version}`);
  }
  const header: unknown = JSON.parse(new TextDecoder().decode(bytes.subarray(prefixBytes)));
  if (typeof header !== "object" || header === null || !("facts" in header) || !("bodyBytes" in header)) {
    throw new Error("it has no facts");
  }
  const { facts, bodyBytes } = header;
  if (!isCount(bodyBytes)) throw new Error(`its body would have ${String(bodyBytes)} bytes`);
  return { facts, bodyBytes };
}

export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/** Bytes of the whole file. */
export function fileBytes(headerBytes: number, bodyBytes: number): number {
  return headerBytes + bodyBytes + 4 * Math.ceil(bodyBytes / blockBytes);
}

function headerCrc(bytes: Uint8Array): number {
  return crc32(bytes.subarray(prefixBytes), crc32(bytes.subarray(0, crcAt)));
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
