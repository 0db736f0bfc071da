/**
 * The two newest snapshots of each session: `<key>.a` and `<key>.b`. A new one replaces the less useful one. So there
 * are never more than two, and there is no list of them that could disagree with the folder.
 */

import { copyFileSync, linkSync, rmSync, statSync } from "node:fs";
import { rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { LaterVersion } from "../files/checked-header.ts";
import { StateError, stateErrorOf } from "./errors.ts";
import { differences, type Facts } from "./facts.ts";
import { readSnapshotFacts, readSnapshotFile, type SnapshotFacts, writeSnapshotFile } from "./snapshot-file.ts";
import type { LoadedSnapshot, Snapshot } from "./store.ts";

interface Generation {
  path: string;
  /** Undefined where there is no file, or none that this kakeya can use. */
  header: SnapshotFacts | undefined;
}

/** A snapshot that a fork can begin with. */
export interface SharedSnapshot {
  path: string;
  position: number;
}

export class Generations {
  constructor(
    private readonly folder: string,
    /** Another process may be writing them: what is damaged stays where it is. */
    private readonly options: { readOnly: boolean } = { readOnly: false },
  ) {}

  /** @returns bytes of both generations */
  async save(key: number, snapshot: Snapshot): Promise<number> {
    const [older] = this.#byUse(await this.#read(key), snapshot.facts);
    if (older === undefined) throw new Error("a session has two generations");
    await writeSnapshotFile(older.path, snapshot);
    return await this.bytes(key);
  }

  /** The newest good snapshot with these facts, or any, that holds at most `atMost` tokens; damaged ones are set aside. */
  async load(key: number, facts: Facts | undefined, atMost: number): Promise<LoadedSnapshot> {
    const setAside: string[] = [];
    const usable = this.#byUse(await this.#read(key, setAside), facts)
      .reverse()
      .filter(({ header }) => header && isOf(header, facts) && header.position <= atMost);
    for (const { path } of usable) {
      const snapshot = await this.#orSetAside(path, setAside, () => readSnapshotFile(path));
      if (snapshot !== undefined) return { snapshot, setAside };
    }
    return { setAside };
  }

  /**
   * Sets aside snapshots that hold more tokens than the journal: the journal has lost its end (a power cut, a backup),
   * and other ids will take its place.
   */
  async dropBeyond(key: number, tokens: number): Promise<void> {
    for (const { path, header } of await this.#read(key)) {
      if (header !== undefined && header.position > tokens) await setAsideFile(path);
    }
  }

  /** The position from which on all ids are needed: that of the older generation; 0 when there are not two of them. */
  async neededFrom(key: number, facts: Facts): Promise<number> {
    const [older] = this.#byUse(await this.#read(key), facts);
    return older?.header !== undefined && isOf(older.header, facts) ? older.header.position : 0;
  }

  /** The newest one with at most `atMost` tokens, whatever its facts. */
  async newest(key: number, atMost: number): Promise<SharedSnapshot | undefined> {
    const usable = (await this.#read(key)).flatMap(({ path, header }) =>
      header !== undefined && header.position <= atMost ? [{ path, position: header.position }] : [],
    );
    return usable.sort((a, b) => b.position - a.position)[0];
  }

  /**
   * Gives the new session of `key` a snapshot of another one, if any. Files are replaced, never changed, so a link is
   * enough. Files that this key already has are removed: a journal from a backup can give out a key again.
   * @returns bytes of its snapshots
   */
  begin(key: number, snapshot?: SharedSnapshot): number {
    for (const name of this.#names(key)) rmSync(name, { force: true });
    if (snapshot === undefined) return 0;
    const [path] = this.#paths(key);
    try {
      linkSync(snapshot.path, path);
    } catch {
      copyFileSync(snapshot.path, path);
    }
    return statSync(path).size;
  }

  async remove(key: number): Promise<void> {
    for (const name of this.#names(key)) await rm(name, { force: true });
  }

  async bytes(key: number): Promise<number> {
    const sizes = await Promise.all(this.#paths(key).map((path) => stat(path).then(({ size }) => size, absent(0))));
    return sizes.reduce((sum, size) => sum + size, 0);
  }

  #names(key: number): string[] {
    return this.#paths(key).flatMap((path) => [path, `${path}.damaged`]);
  }

  #paths(key: number): [string, string] {
    return [join(this.folder, `${key}.a`), join(this.folder, `${key}.b`)];
  }

  async #read(key: number, setAside?: string[]): Promise<Generation[]> {
    return await Promise.all(
      this.#paths(key).map(async (path) => ({
        path,
        header: await this.#orSetAside(path, setAside, () => readSnapshotFacts(path)),
      })),
    );
  }

  /** The one to write over first, the one to load last. */
  #byUse(generations: Generation[], facts: Facts | undefined): Generation[] {
    const use = ({ header }: Generation) => (header !== undefined && isOf(header, facts) ? header.position : -1);
    return generations.sort((a, b) => use(a) - use(b));
  }

  async #orSetAside<T>(path: string, setAside: string[] | undefined, read: () => Promise<T>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      if (isAbsent(error) || error instanceof LaterVersion) return undefined;
      // Memory, permissions or a failing device: this says nothing about what is in the file.
      const known = stateErrorOf(this.folder, error);
      if (known instanceof StateError || (error instanceof Error && "code" in error)) throw known;
      if (setAside === undefined) return undefined;
      if (!this.options.readOnly) await setAsideFile(path);
      setAside.push(`${path} was damaged (${error instanceof Error ? error.message : error})`);
      return undefined;
    }
  }
}

async function setAsideFile(path: string): Promise<void> {
  await rename(path, `${path}.damaged`).catch(absent(undefined));
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

/** Returns `instead` where there is no file. */
function absent<T>(instead: T): (error: unknown) => T {
  return (error) => {
    if (isAbsent(error)) return instead;
    throw error;
  };
}

function isOf(snapshot: SnapshotFacts, facts: Facts | undefined): boolean {
  return facts === undefined || differences(snapshot.facts, facts).length === 0;
}
