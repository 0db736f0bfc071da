/** A session in one file, which another machine with the same model continues: its ids and its newest snapshot. */

import { readCheckedFile, writeCheckedFile } from "../files/checked-file.ts";
import { type FileKind, isCount } from "../files/checked-header.ts";
import { codeOf } from "../files/file-error.ts";
import { StateError, stateErrorOf } from "./errors.ts";
import { factsFrom } from "./facts.ts";
import { snapshotFactsFrom } from "./snapshot-file.ts";
import type { StateReader, StateStore, StoredSession } from "./store.ts";

const kind: FileKind = { magic: "KKSESS\r\n", name: "session", version: 1 };

/** Whether a file that begins like this may be replaced by an exported session. */
export function isSessionFile(head: string): boolean {
  return head.startsWith(kind.magic);
}

/** @throws StateError not-found, damaged, full, unusable */
export async function exportSession(
  store: Omit<StateReader, keyof AsyncDisposable>,
  id: string,
  path: string,
): Promise<StoredSession> {
  const found = await store.find(id);
  if (found === undefined) throw new StateError("not-found", `there is no session "${id}"; see sessions list`);
  const { holder: _, ...session } = found;
  const ids = await store.ids(id, session.keptFrom, session.tokens);
  // Its facts are more than the session's: they name its layout, too.
  const { snapshot } = await store.loadSnapshot(id, undefined, session.tokens);
  const { body = [], ...snapshotFacts } = snapshot ?? {};
  const facts = { session, ...(snapshot === undefined ? {} : { snapshot: snapshotFacts }) };
  try {
    await writeCheckedFile(path, kind, { facts, body: [new Uint8Array(ids.buffer), ...body] });
  } catch (error) {
    throw stateErrorOf(path, error);
  }
  return session;
}

/**
 * @param id the session's new id; absent: the one it had
 * @throws StateError exists, damaged, newer, full; Error when the file can't be read
 */
export async function importSession(store: StateStore, path: string, id?: string): Promise<StoredSession> {
  const { facts, body } = await readSessionFile(path);
  const session = { ...facts.session, ...(id === undefined ? {} : { id }) };
  const idBytes = 4 * (session.tokens - session.keptFrom);
  const ids = new Uint32Array(body.slice(0, idBytes).buffer);
  const snapshot = facts.snapshot && { ...facts.snapshot, body: [body.subarray(idBytes)] };
  await store.adopt(session, ids, snapshot);
  return session;
}

async function readSessionFile(path: string) {
  try {
    const { facts, body } = await readCheckedFile(path, kind);
    const { session, snapshot } = Object(facts) as Record<string, unknown>;
    const known = {
      session: sessionFrom(session),
      snapshot: snapshot === undefined ? undefined : snapshotFactsFrom(snapshot),
    };
    const { keptFrom } = known.session;
    if (keptFrom > (known.snapshot?.position ?? 0))
      throw new Error(`its ids begin at ${keptFrom}, and no snapshot leads there`);
    if (body.length < 4 * (known.session.tokens - keptFrom)) throw new Error("it lacks ids");
    return { facts: known, body };
  } catch (error) {
    if (codeOf(error) !== undefined) throw error;
    const words = error instanceof Error ? error.message : String(error);
    throw new StateError("damaged", `${path} can't be imported: ${words}; export the session again`, { cause: error });
  }
}

/** @throws Error naming what is missing or of another type */
function sessionFrom(value: unknown): StoredSession {
  const { id, label, eosTokenIds, facts, ...counts } = Object(value) as Record<string, unknown>;
  const count = (name: keyof StoredSession): number => {
    const count = counts[name];
    if (!isCount(count)) throw new Error(`its session's ${name} is ${String(count)}`);
    return count;
  };
  if (typeof id !== "string" || typeof label !== "string") throw new Error("its session has no id or label");
  if (!Array.isArray(eosTokenIds) || !eosTokenIds.every(isCount)) throw new Error("its end ids are no ids");
  const session = {
    ...{ id, label, eosTokenIds, facts: factsFrom(facts), snapshotBytes: 0 },
    ...{ createdMs: count("createdMs"), activeMs: count("activeMs"), tokens: count("tokens") },
    ...{ generated: count("generated"), replayed: count("replayed"), keptFrom: count("keptFrom") },
  };
  if (session.keptFrom > session.tokens) throw new Error("its first id comes after its last");
  return session;
}
