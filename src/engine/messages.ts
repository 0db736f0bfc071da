import type { DigestedRange } from "../graph/digest.ts";
import type { Engine, EngineInfo, EngineOptions, GenerateRequest, SequenceId, Step } from "./engine.ts";

/** The engine's methods that its worker carries out and answers. */
export type Method = Exclude<keyof Engine, "info" | "crashed" | "generate">;

export type Call = { [M in Method]: { method: M; args: Parameters<Engine[M]> } }[Method];

export type LoadOptions = Omit<EngineOptions, "onProgress">;

export type ToWorker =
  | { kind: "open"; options: LoadOptions }
  | { kind: "call"; id: number; call: Call }
  | { kind: "generate"; id: number; sequence: SequenceId; request: GenerateRequest }
  | { kind: "allow"; id: number; steps: number }
  | { kind: "stop"; id: number };

export type FromWorker =
  | { kind: "progress"; doneBytes: number; totalBytes: number }
  | { kind: "loaded"; info: EngineInfo; dir: string; sampled: DigestedRange[] }
  | { kind: "failed"; error: Refusal }
  /** What one step added to the sequences of the generations `id`. */
  | { kind: "steps"; steps: { id: number; step: Step }[] }
  | { kind: "answer"; id: number; value: unknown }
  | { kind: "refused"; id: number; error: Refusal }
  /** No call can succeed any more. */
  | { kind: "broken"; error: Refusal };

/** An error as it crosses the worker's border. */
export interface Refusal {
  name: string;
  message: string;
}
