/**
 * The engine as the rest of kakeya sees it: sessions' slabs and tokens, never tensors.
 *
 * A slab is one session's key/value cache of fixed size. Every method that changes a slab answers with
 * what the slab holds afterwards, counted from its rows, so that the caller can check it (INV-1, INV-2).
 */

import type { Quantization } from "../graph/plan.ts";

export type { Quantization };

/** Handle of a slab inside one engine; never reused within an engine's life. */
export type SlabId = number;

export interface EngineInfo {
  /** The name the model was asked for by: a directory's base name or a Hugging Face id. */
  modelId: string;
  /** SHA-256 (hex) over the weights' bytes, the configuration and the quantization. */
  fingerprint: string;
  /** For example "Qwen3ForCausalLM". */
  architecture: string;
  vocabSize: number;
  sink: number;
  window: number;
  block: number;
  quantization: Quantization;
  /** Whether the loaded kernels gave the same bits for one row and many (checked at load). */
  exact: boolean;
  /** Live bytes one cached token takes: layers * kvHeads * headDim * bytesPerElement * 2. */
  kvBytesPerToken: number;
  /** Bytes one slab allocates, whatever its session's length. */
  kvSlabBytes: number;
  /** From generation_config.json and tokenizer_config.json. */
  eosTokenIds: number[];
  /** What is odd about the model or the options; it runs all the same. */
  warnings: readonly string[];
  /** Slabs that can exist at once. */
  capacity: number;
  threads: number;
}

/** What a slab holds, counted from its rows. */
export interface SlabState {
  /** Tokens ever cached = position of the next token. */
  position: number;
  /** The smallest and largest number of live rows any layer holds. INV-1: both equal min(position, sink + window). */
  minRows: number;
  maxRows: number;
  /** Live bytes, summed over the layers' rows. */
  liveBytes: number;
  /** Every token the engine ever ran for this slab. */
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

export interface DecodeRequest {
  slab: SlabId;
  sampling: Sampling;
}

export interface Decoded {
  /** The id chosen from the slab's last logits; it is cached when this arrives. */
  tokenId: number;
  state: SlabState;
}

/** Thrown by every call in flight, and by calls on its slabs afterwards, when the engine's worker died. */
export class EngineCrashed extends Error {
  override name = "EngineCrashed";
}

export interface Engine {
  readonly info: EngineInfo;
  createSlab(): Promise<SlabId>;
  freeSlab(slab: SlabId): Promise<void>;
  /** Runs `tokenIds` (all < vocabSize, at least one) through the model; resolves when they are cached. */
  append(slab: SlabId, tokenIds: Uint32Array): Promise<SlabState>;
  /**
   * One decode step for several different slabs at once: picks each one's next id from its last logits, runs
   * it, and answers when all are cached, in the order asked. Needs at least one token in each slab.
   */
  decode(requests: DecodeRequest[]): Promise<Decoded[]>;
  state(slab: SlabId): Promise<SlabState>;
  /** Test hook of INV-1: overwrites one live row of one layer in place. */
  corrupt(slab: SlabId): Promise<void>;
  close(): Promise<void>;
}

export interface EngineOptions {
  /** Directory of a Hugging Face checkpoint, or a hub id found in the local hub cache; absent: the embedded model. */
  model?: string;
  quantization: Quantization;
  sink: number;
  /** Absent: what suits the model. */
  window?: number;
  capacity: number;
  /** Intra-op threads of ONNX Runtime; absent: chosen from the machine and the model. */
  threads?: number;
  /** Progress while an engine file is built. */
  onProgress?: (p: { doneBytes: number; totalBytes: number }) => void;
}
