import type { Facts } from "../../src/state/facts.ts";
import type { NewSession, Snapshot } from "../../src/state/store.ts";

/** What a session's ids are computed with. */
const sessionFacts: Facts = {
  fingerprint: "f".repeat(64),
  sink: 4,
  window: 64,
  block: 32,
  device: "cpu",
  rowMultiple: 1,
};

/** A snapshot's facts name its layout as well. */
export const facts: Facts = { ...sessionFacts, format: 1 };

export function newSession(id: string): NewSession {
  return { id, label: `label of ${id}`, eosTokenIds: [1, 2], facts: sessionFacts };
}

/** `count` ids that differ from position to position. */
export function idsFrom(position: number, count: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, i) => (position + i) * 2_654_435_761);
}

export function snapshotAt(position: number, bytes = 100): Snapshot {
  return { facts, counts: { shift: 32 }, position, body: [new Uint8Array(bytes).fill(position % 251)] };
}
