import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Backend } from "../../src/engine/backend.ts";
import { EngineCore } from "../../src/engine/core.ts";
import type { CpuSequence } from "../../src/engine/cpu-sequence.ts";
import type { Device, KvFormat, Quantization } from "../../src/engine/engine.ts";
import { loadBackend } from "../../src/engine/load.ts";
import type { Guesser } from "../../src/engine/speculation.ts";
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

/** The engine without its worker, so that logits can be looked at. */
export type TestEngine = EngineCore<CpuSequence>;

interface CoreOptions {
  device?: Device;
  quantization?: Quantization;
  kv?: KvFormat | "auto";
  sink?: number;
  window?: number;
  capacity?: number;
  threads?: number;
  /** What guesses; absent: nothing does. */
  newGuesser?: () => Guesser;
}

/** What runs kakeya-tiny's steps, without a scheduler. */
export async function tinyBackend(capacity: number): Promise<Backend<CpuSequence>> {
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
export function loadCore(name: string, options: CoreOptions = {}): Promise<TestEngine> {
  return loadDir(modelDir(name), options);
}

/** The same of any directory. */
export async function loadDir(model: string, options: CoreOptions): Promise<TestEngine> {
  const {
    device = "cpu",
    quantization = "f32",
    kv = "f32",
    sink = 4,
    window = 64,
    capacity = 1,
    threads = 1,
  } = options;
  const draft = options.newGuesser !== undefined;
  const load = { model, device, quantization, kv, sink, window, capacity, threads, draft };
  const { backend, info } = await loadBackend(load, () => {});
  return new EngineCore(backend, info, options.newGuesser);
}
