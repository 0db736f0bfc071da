/**
 * The engine as the rest of kakeya sees it: sequences and tokens, never tensors.
 *
 * A sequence is all that the engine holds of one session; its key/value cache has a fixed size. Every method that
 * changes a sequence returns what it holds afterwards, counted from its rows, so that the caller can check it (INV-1,
 * INV-2).
 */

import type { Device, KvFormat, Quantization } from "../graph/plan.ts";

export type { Device, KvFormat, Quantization };

/** Handle of a sequence inside one engine; never reused within an engine's life. */
export type SequenceId = number;

export interface EngineInfo {
  /** The name by which the model was asked for: a directory's base name or a Hugging Face id. */
  modelId: string;
  /** The folder of its files: weights, configuration, tokenizer. */
  modelDir: string;
  /** SHA-256 (hex) over the configuration, the quantization and every byte that the engine computes with. */
  fingerprint: string;
  /** For example "Qwen3ForCausalLM". */
  architecture: string;
  vocabSize: number;
  sink: number;
  window: number;
  block: number;
  quantization: Quantization;
  /** How the cache's keys and values are stored. */
  kv: KvFormat;
  /** Whether the loaded kernels gave the same bits however a history was cut (checked at load). */
  exact: boolean;
  /** Steps run a multiple of this many rows, because the kernels then give the same bits for any number of them. */
  rowMultiple: number;
  /** Live bytes one cached token takes: layers * kvHeads * 2 rows of 4 * headDim bytes, or of headDim + 4 in 8 bits. */
  kvBytesPerToken: number;
  /** Bytes that one sequence's cache takes, however long its history. */
  kvSlabBytes: number;
  /** From generation_config.json and tokenizer_config.json. */
  eosTokenIds: number[];
  /** What is odd about the model or the options; it runs nevertheless. */
  warnings: readonly string[];
  /** Sequences that can exist at once. */
  capacity: number;
  threads: number;
  /** The most guesses that a step of one sequence runs; 0: none are made. */
  draftLimit: number;
  /** What the bits of a sequence depend on besides its tokens. */
  facts: EngineFacts;
  /** The GPU that runs the model, with its interface and driver; empty for the processor. */
  adapter: string;
}

/** Engines with the same facts continue each other's sequences, to the bit. */
export interface EngineFacts {
  /** The version of a saved sequence's layout. */
  format: number;
  /** SHA-256 (hex) over the weights' bytes, the configuration and the quantization. */
  fingerprint: string;
  /** Part of the fingerprint as well; here so that people see what differs. */
  kv: KvFormat;
  device: Device;
  /** What decides which of the device's kernels run. */
  instructions: string;
  rowMultiple: number;
  sink: number;
  window: number;
  block: number;
}

/** What a sequence holds, counted from its rows. */
export interface SequenceState {
  /** Tokens ever cached = position of the next token. */
  position: number;
  /** The smallest and largest number of live rows any layer holds. INV-1: both equal min(position, sink + window). */
  minRows: number;
  maxRows: number;
  /** Live bytes, summed over the layers' rows. */
  liveBytes: number;
  /** Every token the engine ever ran for this sequence and kept. */
  computedTokens: number;
  /** Whether its last logits are finite numbers; if not, no id can be chosen from them. */
  finite: boolean;
}

/** Greedy when `temperature` is 0. The random number is a function of (seed, position) alone. */
export interface Sampling {
  temperature: number;
  /** 0: no limit. */
  topK: number;
  /** In (0, 1]; 1: no limit. */
  topP: number;
  seed: bigint;
}

export const greedy: Sampling = { temperature: 0, topK: 0, topP: 1, seed: 0n };

export interface GenerateRequest {
  sampling: Sampling;
  /** At least 1. */
  maxTokens: number;
  /** The generation ends with the first of these; it is part of the history. */
  eosTokenIds: readonly number[];
  /** Each step adds one id and runs no guesses: the reader decides after each id whether it wants another. */
  oneByOne?: boolean;
}

/** What one step added to a sequence: it is cached when this arrives. */
export interface Step {
  /** The id that was chosen before the step, and the guesses after it that were right. */
  tokenIds: readonly number[];
  /** Guesses that the step ran, right or wrong. */
  drafted: number;
  state: SequenceState;
}

export type EndReason = "max-tokens" | "eos" | "stopped";

/** A generation under way. It runs only the steps it is allowed, so that it never gets far ahead of its reader. */
export interface Generation {
  /** Lets it run this many more steps. */
  allow(steps: number): void;
  /** Ends it before its next step; a step that has begun is finished, and reported. */
  stop(): void;
  /** Resolves after the last step was reported; rejects when a step failed. */
  readonly ended: Promise<EndReason>;
}

/** A copy that makes the same sequence elsewhere, to the bit. */
export interface SavedSequence {
  facts: SavedFacts;
  /** The live rows, the sinks' original keys and the last logits, float32, little endian. */
  body: Uint8Array;
}

/** What a saved sequence was computed by and with; it can be loaded where all of it but the counts is the same. */
export interface SavedFacts extends EngineFacts {
  position: number;
  computedTokens: number;
  /** By how much the sinks' keys are rotated. */
  shift: number;
  /** The argmax of the last logits; -1 when there are none. */
  best: number;
}

/** A saved sequence was computed by something else, so it would continue with other bits. */
export class ForeignSequence extends Error {
  override name = "ForeignSequence";
}

/** The device that was asked for can't run the model here; the message says why, and what to do. */
export class DeviceUnavailable extends Error {
  override name = "DeviceUnavailable";
}

/**
 * Thrown by every call in flight, and by all later ones, when the engine's worker died, or its files were found damaged
 * or changed.
 */
export class EngineCrashed extends Error {
  override name = "EngineCrashed";
}

/** The device failed while it computed; what it held is lost, and only another process can use it again. */
export class DeviceFailed extends EngineCrashed {
  override name = "DeviceFailed";
}

export interface Engine {
  readonly info: EngineInfo;
  /** Aborts, with an EngineCrashed for its reason, when the engine died or can't be trusted any more. */
  readonly crashed: AbortSignal;
  /** An empty sequence. Rejects with RangeError when `capacity` of them exist. */
  create(): Promise<SequenceId>;
  /** Ends what runs on the sequence, and frees its place. */
  free(sequence: SequenceId): Promise<void>;
  /**
   * Runs `tokenIds` (all < vocabSize, at least one) through the model; resolves when they are cached. Long ones are cut
   * into chunks, and chunks of several sequences take turns. A generation needs the last one's logits.
   */
  append(sequence: SequenceId, tokenIds: Uint32Array, logits?: "last" | "none"): Promise<SequenceState>;
  /**
   * Lets the model continue a sequence that has logits: in each step the next id is chosen from the last logits and
   * run. All generations that may run a step share it. `onStep` gets each step, in order.
   */
  generate(sequence: SequenceId, request: GenerateRequest, onStep: (step: Step) => void): Generation;
  /** Counts the sequence's rows again, from memory. */
  state(sequence: SequenceId): Promise<SequenceState>;
  /** A copy from which `load` makes the same sequence, here or in another engine with the same facts. */
  save(sequence: SequenceId): Promise<SavedSequence>;
  /**
   * Takes the memory of `saved.body`. Rejects with ForeignSequence when it was computed by something else, and
   * RangeError when it is damaged.
   */
  load(saved: SavedSequence): Promise<SequenceId>;
  /** A copy that goes its own way. */
  fork(sequence: SequenceId): Promise<SequenceId>;
  /** Test hook of INV-1: makes one live row of one layer look empty. */
  corrupt(sequence: SequenceId): Promise<void>;
  close(): Promise<void>;
}

export interface EngineOptions {
  /** Directory of a Hugging Face checkpoint, or a hub id found in the local hub cache; absent: the embedded model. */
  model?: string;
  quantization: Quantization;
  /** Absent: the processor. */
  device?: Device;
  /** What the GPU is called: ONNX Runtime takes one, and doesn't say which. */
  adapter?: string;
  /** How the cache's keys and values are stored; auto: what is faster for the window. Absent: as floats. */
  kv?: KvFormat | "auto";
  sink: number;
  /** Absent: what suits the model. */
  window?: number;
  capacity: number;
  /** Intra-op threads of ONNX Runtime; absent: chosen from the machine and the model. */
  threads?: number;
  /** Guess ids from a sequence's own history, and keep those that are right. Changes speed, never ids. */
  draft?: boolean;
  /** Progress while an engine file is built. */
  onProgress?: (p: { doneBytes: number; totalBytes: number }) => void;
}
