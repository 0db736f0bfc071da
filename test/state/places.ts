/** Every kind of place that a state can be in, so that the same tests say the same of each. */

import { afterAll } from "bun:test";
import type { OpenOptions } from "../../src/state/messages.ts";
import { openState } from "../../src/state/open.ts";
import { PostgresStore } from "../../src/state/postgres/postgres-store.ts";
import { SqliteStore } from "../../src/state/sqlite-store.ts";
import type { StateStore } from "../../src/state/store.ts";
import { scratchDir } from "../scratch.ts";
import { hasPostgres, Postgres } from "./postgres.ts";

export interface Place extends Disposable {
  /** The folder, or the database's URL. */
  readonly at: string;
  open(keepIds?: number): Promise<StateStore>;
}

type Open = (options: OpenOptions) => Promise<StateStore>;

const openHere: Open = (options) => ("url" in options ? PostgresStore.open(options) : SqliteStore.open(options));

function folder(open: Open): Place {
  const scratch = scratchDir();
  return {
    at: scratch.path,
    open: (keepIds) => open({ dir: scratch.path, sync: "normal", ...(keepIds === undefined ? {} : { keepIds }) }),
    [Symbol.dispose]: scratch[Symbol.dispose],
  };
}

let cluster: Promise<Postgres> | undefined;

/** One for all tests of a file. */
export function sharedPostgres(): Promise<Postgres> {
  cluster ??= Postgres.start();
  return cluster;
}

/** Call it once in a file that uses `sharedPostgres`. */
export function stopSharedPostgresAtEnd(): void {
  afterAll(async () => {
    await (await cluster)?.[Symbol.asyncDispose]();
    cluster = undefined;
  });
}

async function database(open: Open): Promise<Place> {
  const url = await (await sharedPostgres()).database();
  return {
    at: url,
    open: (keepIds) => open({ url, leaseS: 60, waitS: 20, ...(keepIds === undefined ? {} : { keepIds }) }),
    [Symbol.dispose]: () => {}, // It goes with its cluster.
  };
}

export const folders: [string, () => Promise<Place>][] = [
  ["a state folder in this thread", async () => folder(openHere)],
  ["a state folder in a thread of its own", async () => folder(openState)],
];

export const places: typeof folders = [
  ...folders,
  ...(hasPostgres
    ? ([
        ["a database in this thread", () => database(openHere)],
        ["a database in a thread of its own", () => database(openState)],
      ] satisfies typeof folders)
    : []),
];
