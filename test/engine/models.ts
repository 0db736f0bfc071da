import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EngineCore } from "../../src/engine/core.ts";
import type { CpuBackend } from "../../src/engine/cpu-backend.ts";
import type { Quantization } from "../../src/engine/engine.ts";
import { loadBackend, loadEngine } from "../../src/engine/load.ts";
import { presets, writeRandomCheckpoint } from "../../tools/random-checkpoint.ts";

const folder = mkdtempSync(join(tmpdir(), "kakeya-test-engine-"));
process.env.KAKEYA_CACHE_DIR ??= join(folder, "cache");
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

export const goldenModels = ["qwen3-tied", "qwen2-bias", "llama3-rope"] as const;
export const quantizations: readonly Quantization[] = ["f32", "q8", "q4"];

/** Directory of a model by name: a golden one, kakeya-tiny, or a random one with one query head a KV head. */
export function modelDir(name: string): string {
  const root = join(import.meta.dir, "../..");
  if (name === "kakeya-tiny") return join(root, "models/kakeya-tiny");
  if (name !== "multi-head") return join(root, "test/golden", name);
  const dir = join(folder, name);
  const config = presets["llama-multi-head"];
  if (!config) throw new Error("the preset llama-multi-head is gone");
  writeRandomCheckpoint(dir, { config, seed: 7 });
  return dir;
}

interface CoreOptions {
  quantization?: Quantization;
  sink?: number;
  window?: number;
  capacity?: number;
  threads?: number;
}

/** What runs kakeya-tiny's steps, without a scheduler. */
export async function tinyBackend(capacity: number): Promise<CpuBackend> {
  const options = {
    model: modelDir("kakeya-tiny"),
    quantization: "q8",
    sink: 4,
    window: 64,
    capacity,
    threads: 1,
  } as const;
  return (await loadBackend(options, () => {})).backend;
}

/** The engine's inside, without its worker, so that logits can be looked at. */
export function loadCore(name: string, options: CoreOptions = {}): Promise<EngineCore> {
  return loadDir(modelDir(name), options);
}

/** The same of any directory. */
export async function loadDir(model: string, options: CoreOptions): Promise<EngineCore> {
  const { quantization = "f32", sink = 4, window = 64, capacity = 1, threads = 1 } = options;
  return loadEngine({ model, quantization, sink, window, capacity, threads }, () => {});
}
