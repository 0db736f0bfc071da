import type { Geometry } from "../kv/geometry.ts";
import type { EngineFacts, SavedSequence, SequenceState } from "./engine.ts";

/** All that an engine holds of one session. Its backend knows what else belongs to it. */
export interface Sequence {
  /** Tokens ever cached = position of the next one. */
  readonly position: number;
  /** The last committed token's logits, [vocab], and their argmax, -1 before there are any. */
  readonly logits: Float32Array;
  readonly best: number;
  /** As counted when its rows were last written or counted. */
  readonly state: SequenceState;
}

/** Tokens to run for one sequence, all within one block. */
export interface Run<S> {
  sequence: S;
  tokenIds: ArrayLike<number>;
}

/** Which logits a step computes: none, of each run's last token, or of every token. */
export type Wanted = "none" | "last" | "all";

/** What a step computed. Only what is committed is kept. The rest is valid until the next step. */
export interface Ran {
  /** The logits after token t of run i, [vocab], where they were wanted; and their argmax. */
  logits(i: number, t: number): Float32Array;
  best(i: number, t: number): number;
  /** Makes the first `count` tokens of run i part of its sequence, with the logits of the last one where there are any. */
  commit(i: number, count: number): void | Promise<void>;
}

/** A device that runs a model on sequences. Calls must not overlap. */
export interface Backend<S extends Sequence = Sequence> {
  readonly geometry: Geometry;
  /** What the bits of a sequence depend on besides its tokens. */
  readonly facts: EngineFacts;
  readonly vocabSize: number;
  /** Sequences that can exist at once. */
  readonly capacity: number;
  /** An empty sequence. @throws RangeError when there is no room for another. */
  create(): S;
  free(sequence: S): void;
  /** The most rows that one step may have. */
  readonly mostRows: number;
  /** How many rows a step of n sequences with `tokens` tokens each runs, with those that the row rule asks for. */
  rowsOf(n: number, tokens: number): number;
  /** One step for several different sequences at once. */
  run(batch: readonly Run<S>[], wanted: Wanted): Promise<Ran>;
  /** Counts the sequence's rows again, from memory. */
  recount(sequence: S): SequenceState | Promise<SequenceState>;
  save(sequence: S): SavedSequence | Promise<SavedSequence>;
  /** @throws ForeignSequence, or RangeError for a damaged one */
  load(saved: SavedSequence): S | Promise<S>;
  /** Test hook of INV-1: makes one live row look empty. */
  corrupt(sequence: S): void | Promise<void>;
  close(): Promise<void>;
}
