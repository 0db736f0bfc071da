/** The ids of all sessions, packed into chunks. */

import type { Database } from "bun:sqlite";
import { crc32 } from "node:zlib";
import { StateError } from "./errors.ts";

/** A full chunk, at 4 bytes an id, then fills one of SQLite's pages of 4096 bytes. */
export const chunkTokens = 1000;

interface Chunk {
  ids: Uint8Array;
  crc: number;
}

export class Journal {
  readonly #read;
  readonly #insert;
  readonly #update;
  readonly #drop;

  constructor(database: Database) {
    this.#read = database.query<Chunk, [number, number]>(
      "SELECT ids, crc FROM journal WHERE session = ? AND chunk = ?",
    );
    this.#insert = database.query<null, [number, number, Uint8Array, number]>(
      "INSERT INTO journal (session, chunk, ids, crc) VALUES (?, ?, ?, ?)",
    );
    this.#update = database.query<null, [Uint8Array, number, number, number]>(
      "UPDATE journal SET ids = ?, crc = ? WHERE session = ? AND chunk = ?",
    );
    this.#drop = database.query<null, [number, number]>("DELETE FROM journal WHERE session = ? AND chunk < ?");
  }

  /** Within a transaction: continues the session of `key`, which has `position` ids. */
  append(key: number, position: number, ids: Uint32Array): void {
    const bytes = new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength);
    for (let done = 0; done < ids.length; ) {
      const chunk = Math.floor((position + done) / chunkTokens);
      const before = position + done - chunk * chunkTokens;
      const take = Math.min(ids.length - done, chunkTokens - before);
      const added = bytes.subarray(4 * done, 4 * (done + take));
      if (before === 0) this.#insert.run(key, chunk, added, checksum(key, chunk, added));
      else {
        const all = new Uint8Array(4 * (before + take));
        all.set(this.#bytes(key, chunk, before));
        all.set(added, 4 * before);
        this.#update.run(all, checksum(key, chunk, all), key, chunk);
      }
      done += take;
    }
  }

  /**
   * The ids at positions [from, to) of a session that has `tokens`.
   * @throws StateError damaged
   */
  ids(key: number, from: number, to: number, tokens: number): Uint32Array {
    const ids = new Uint32Array(to - from);
    if (ids.length === 0) return ids;
    const bytes = new Uint8Array(ids.buffer);
    for (let chunk = Math.floor(from / chunkTokens); chunk * chunkTokens < to; chunk++) {
      const start = chunk * chunkTokens;
      const stored = this.#bytes(key, chunk, Math.min(chunkTokens, tokens - start));
      const part = stored.subarray(4 * Math.max(0, from - start), 4 * (to - start));
      bytes.set(part, 4 * Math.max(0, start - from));
    }
    return ids;
  }

  /** Drops whole chunks of ids before `position`. @returns the first position that is still there */
  dropBefore(key: number, position: number): number {
    const chunk = Math.floor(position / chunkTokens);
    this.#drop.run(key, chunk);
    return chunk * chunkTokens;
  }

  remove(key: number): void {
    this.#drop.run(key, Number.MAX_SAFE_INTEGER);
  }

  #bytes(key: number, chunk: number, tokens: number): Uint8Array {
    const stored = this.#read.get(key, chunk);
    const place = `ids ${chunk * chunkTokens} to ${chunk * chunkTokens + tokens - 1}`;
    if (stored === null) throw damaged(`${place} are missing`);
    if (stored.ids.length !== 4 * tokens) throw damaged(`${place} take ${stored.ids.length} bytes`);
    if (stored.crc !== checksum(key, chunk, stored.ids)) throw damaged(`the checksum of ${place} is wrong`);
    return stored.ids;
  }
}

/** Covers the place as well, so that ids that ended up under another session or chunk are noticed. */
function checksum(key: number, chunk: number, ids: Uint8Array): number {
  return crc32(ids, crc32(`${key} ${chunk}`));
}

function damaged(what: string): StateError {
  return new StateError("damaged", `the journal is damaged: ${what}; restore the state folder from a backup`);
}
