import type { Engine, EngineInfo, EngineOptions } from "./engine.ts";

/** The engine's methods that its worker carries out. */
export type Method = "createSlab" | "freeSlab" | "append" | "decode" | "state" | "corrupt" | "close";

export type Call = { [M in Method]: { method: M; args: Parameters<Engine[M]> } }[Method];

export type LoadOptions = Omit<EngineOptions, "onProgress">;

export type ToWorker = { kind: "load"; options: LoadOptions } | { kind: "call"; id: number; call: Call };

export type FromWorker =
  | { kind: "progress"; doneBytes: number; totalBytes: number }
  | { kind: "loaded"; info: EngineInfo }
  | { kind: "failed"; error: string }
  | { kind: "answer"; id: number; value: unknown }
  | { kind: "refused"; id: number; error: string };
