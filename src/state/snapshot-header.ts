/**
 * The head of a snapshot's file, little-endian:
 *
 *     "KKSNAP\r\n", u32 version, u32 length of the facts, u32 CRC-32 of all of this but itself, facts as JSON
 *
 * Then the body as it is, and a CRC-32 of each `blockBytes` of it. So one flipped bit anywhere is noticed, and a
 * file that is too short or too long is, too. The first 20 bytes stay the same in every version.
 */

import { crc32 } from "node:zlib";
import { StateError } from "./errors.ts";
import { type Facts, factsFrom } from "./facts.ts";

export interface SnapshotHeader {
  facts: Facts;
  counts: Facts;
  /** Tokens in the history. */
  position: number;
  bodyBytes: number;
}

export const snapshotVersion = 1;
/** Bytes of the body under one CRC. */
export const blockBytes = 1 << 20;
export const prefixBytes = 20;
/** Read before anything is known of the file: so much is allocated at most. */
export const maxFactsBytes = 64 << 10;

const magic = new TextEncoder().encode("KKSNAP\r\n");
const crcAt = prefixBytes - 4;

export function encodeHeader(header: SnapshotHeader): Uint8Array {
  const facts = new TextEncoder().encode(JSON.stringify(header));
  if (facts.length > maxFactsBytes) throw new RangeError(`a snapshot's facts take ${facts.length} bytes`);
  const bytes = new Uint8Array(prefixBytes + facts.length);
  const view = new DataView(bytes.buffer);
  bytes.set(magic);
  view.setUint32(8, snapshotVersion, true);
  view.setUint32(12, facts.length, true);
  bytes.set(facts, prefixBytes);
  view.setUint32(crcAt, headerCrc(bytes), true);
  return bytes;
}

/** How long the facts are. @throws Error when `prefix` does not begin a snapshot of any version. */
export function factsLength(prefix: Uint8Array): number {
  if (!magic.every((byte, i) => prefix[i] === byte)) throw new Error("it does not begin like a snapshot");
  const length = viewOf(prefix).getUint32(12, true);
  if (length > maxFactsBytes) throw new Error(`its facts would take ${length} bytes`);
  return length;
}

/**
 * @param bytes the prefix and the facts
 * @throws Error when they are not what was written; StateError newer when a later kakeya wrote them
 */
export function decodeHeader(bytes: Uint8Array): SnapshotHeader {
  const view = viewOf(bytes);
  if (view.getUint32(crcAt, true) !== headerCrc(bytes)) throw new Error("the checksum of its facts is wrong");
  const version = view.getUint32(8, true);
  if (version !== snapshotVersion) {
    throw new StateError("newer", `the snapshot has version ${version}, this kakeya reads ${snapshotVersion}`);
  }
  const { facts, counts, position, bodyBytes } = JSON.parse(new TextDecoder().decode(bytes.subarray(prefixBytes)));
  for (const count of [position, bodyBytes]) {
    if (!Number.isSafeInteger(count) || count < 0) throw new Error(`${count} is no number of tokens or bytes`);
  }
  return { facts: factsFrom(facts), counts: factsFrom(counts), position, bodyBytes };
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
