/** Whether a model and its sessions fit into this machine's memory, found out before any of it is taken. */

import { blockFormats } from "../graph/plan.ts";
import type { Quantization } from "./engine.ts";

export interface MemoryNeed {
  quantization: Quantization;
  /** Numbers in the model. */
  weights: number;
  /** Bytes of one session: its slab and its last logits. */
  sessionBytes: number;
  capacity: number;
}

export interface MachineMemory {
  /** The machine's memory, or this process's share of it. */
  totalBytes: number;
  /** Memory that nobody uses now. */
  availableBytes: number;
}

/** What a server takes besides weights and sessions. */
const processBytes = 150e6;

/** A weight in memory, as ONNX Runtime packs it: with a share of its block's scale and sum. */
function bytesPerWeight(quantization: Quantization): number {
  if (quantization === "f32") return 4;
  const { bits, blockSize } = blockFormats[quantization];
  return bits / 8 + (2 * Float32Array.BYTES_PER_ELEMENT) / blockSize;
}

/** What a server with this model takes, before any session. */
export function modelMemoryBytes(quantization: Quantization, weights: number): number {
  return processBytes + weights * bytesPerWeight(quantization);
}

/**
 * Returns a warning when too little memory is free now.
 * @throws Error when the machine does not have enough; it says how much is needed, how much there is, and which flag to
 * lower
 */
export function requireMemory(need: MemoryNeed, { totalBytes, availableBytes }: MachineMemory): string | undefined {
  const { quantization, weights, sessionBytes, capacity } = need;
  const modelBytes = modelMemoryBytes(quantization, weights);
  const neededBytes = modelBytes + capacity * sessionBytes;
  if (neededBytes <= availableBytes) return undefined;

  const parts = `${show(modelBytes)} for the model in ${quantization}, ${capacity} x ${show(sessionBytes)} for sessions`;
  const needed = `${show(neededBytes)} of memory are needed (${parts})`;
  const remedy = remedyFor(need, Math.floor((totalBytes - modelBytes) / sessionBytes));
  if (neededBytes > totalBytes) throw new Error(`${needed}, and there are ${show(totalBytes)}: ${remedy}`);
  return `${needed}, and only ${show(availableBytes)} of ${show(totalBytes)} are free now: ${remedy}`;
}

/** @param fitting how many sessions this machine has memory for */
function remedyFor({ quantization, capacity }: MemoryNeed, fitting: number): string {
  if (fitting < 0) return quantization === "q4" ? "take a smaller model" : "take --quant q4 or a smaller model";
  if (fitting === 0) return "lower --window";
  return fitting < capacity ? `lower --capacity to ${fitting} at most, or --window` : "lower --capacity or --window";
}

function show(bytes: number): string {
  const [unit, name] = bytes < 2 ** 30 ? [2 ** 20, "MiB"] : [2 ** 30, "GiB"];
  return `${Number((bytes / unit).toPrecision(3))} ${name}`;
}
