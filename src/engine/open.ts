import type { Engine, EngineOptions } from "./engine.ts";

/** Loads a model and starts the engine's worker. */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  throw new Error(`not built yet: ${JSON.stringify(options)}`);
}
