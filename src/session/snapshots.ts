/** A sequence as the engine saves it, and as the state keeps it. */

import type { EngineFacts, SavedSequence } from "../engine/engine.ts";
import type { Facts } from "../state/facts.ts";
import type { Snapshot } from "../state/store.ts";

/**
 * What has to be the same to continue a session's ids. A snapshot's layout is not part of it: where that differs,
 * computing the ids again gives the same bits.
 */
export function sessionFacts({ format: _, ...facts }: EngineFacts): Facts {
  return { ...facts };
}

export function snapshotOf({ facts, body }: SavedSequence): Snapshot {
  const { position, computedTokens, shift, best, ...engine } = facts;
  return { facts: { ...engine }, counts: { computedTokens, shift, best }, position, body: [body] };
}

/** @throws Error for counts that the engine of these facts does not write, or a body in several pieces */
export function savedOf({ counts, position, body }: Snapshot, engine: EngineFacts): SavedSequence {
  const count = (name: string): number => {
    const value = counts[name];
    if (typeof value !== "number") throw new Error(`the snapshot's ${name} is ${value}`);
    return value;
  };
  const [whole, ...more] = body;
  if (whole === undefined || more.length > 0) throw new Error(`the snapshot's body is in ${body.length} pieces`);
  const own = { computedTokens: count("computedTokens"), shift: count("shift"), best: count("best") };
  return { facts: { ...engine, ...own, position }, body: whole };
}
