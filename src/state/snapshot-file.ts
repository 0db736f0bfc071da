import { readCheckedFacts, readCheckedFile, writeCheckedFile } from "../files/checked-file.ts";
import { type FileKind, isCount } from "../files/checked-header.ts";
import { factsFrom } from "./facts.ts";
import type { Snapshot } from "./store.ts";

const kind: FileKind = { magic: "KKSNAP\r\n", name: "snapshot", version: 1 };

/** What a snapshot says of itself. */
export type SnapshotFacts = Omit<Snapshot, "body">;

/** The path gets the whole snapshot, or stays what it was. */
export async function writeSnapshotFile(path: string, { body, ...facts }: Snapshot): Promise<void> {
  await writeCheckedFile(path, kind, { facts, body });
}

/** @throws Error when the facts are not what was written, or the file's length does not follow from them */
export async function readSnapshotFacts(path: string): Promise<SnapshotFacts> {
  return snapshotFactsFrom(await readCheckedFacts(path, kind));
}

/** @throws Error when any byte is not what was written */
export async function readSnapshotFile(path: string): Promise<Snapshot> {
  const { facts, body } = await readCheckedFile(path, kind);
  return { ...snapshotFactsFrom(facts), body: [body] };
}

/** @throws Error naming what is missing or of another type */
export function snapshotFactsFrom(value: unknown): SnapshotFacts {
  const { facts, counts, position } = Object(value) as Record<string, unknown>;
  if (!isCount(position)) throw new Error(`a snapshot at ${String(position)} tokens`);
  return { facts: factsFrom(facts), counts: factsFrom(counts), position };
}
