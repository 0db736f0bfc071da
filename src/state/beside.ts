/** A state that servers may be using meanwhile, for the commands that look after its sessions. */

import { isPostgresUrl, type PostgresAddress } from "./postgres/address.ts";
import { PostgresStore } from "./postgres/postgres-store.ts";
import { SqliteStore } from "./sqlite-store.ts";
import type { StateReader, StateStore } from "./store.ts";

/** A folder, or a database's URL. */
export interface StatePlace {
  state: string;
  passwordFile?: string;
}

/** @throws StateError unusable, newer, unreachable */
export async function stateToRead(place: StatePlace): Promise<StateReader> {
  return isPostgresUrl(place.state) ? PostgresStore.toRead(addressOf(place)) : SqliteStore.toRead(place.state);
}

/** @throws StateError unusable, newer, damaged, full, unreachable */
export async function stateToImport(place: StatePlace): Promise<StateStore & AsyncDisposable> {
  return isPostgresUrl(place.state) ? PostgresStore.toImport(addressOf(place)) : SqliteStore.toImport(place.state);
}

/** No server may be using a folder; of a database, none may have the session. @throws StateError in-use, and as above */
export async function stateToRemove(place: StatePlace): Promise<StateStore & AsyncDisposable> {
  if (isPostgresUrl(place.state)) return await PostgresStore.toImport(addressOf(place));
  return await SqliteStore.open({ dir: place.state, sync: "full" });
}

function addressOf({ state, passwordFile }: StatePlace): PostgresAddress {
  return { url: state, ...(passwordFile === undefined ? {} : { passwordFile }) };
}
