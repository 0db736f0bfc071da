import { join } from "node:path";
import { cacheRoot } from "../cache/folder.ts";
import { readConfig } from "../checkpoint/config.ts";
import { readEosTokenIds } from "../checkpoint/eos.ts";
import { resolveModel } from "../checkpoint/resolve.ts";
import { openCheckpoint } from "../checkpoint/safetensors.ts";
import { requireTensors } from "../checkpoint/weight-shapes.ts";
import { readWindowAdvice, windowWarning } from "../checkpoint/window-advice.ts";
import { pageOut } from "../files/page-out.ts";
import { type DigestedRange, isSampled, isWhole } from "../graph/digest.ts";
import { ensureEngineFile } from "../graph/engine-file.ts";
import { discardManifest } from "../graph/engine-manifest.ts";
import { weightFileName } from "../graph/plan.ts";
import { block, geometry } from "../kv/geometry.ts";
import { slabBytes } from "../kv/slab-bytes.ts";
import type { Backend } from "./backend.ts";
import { cpuBackend, gpuBackend } from "./backends.ts";
import { EngineCore } from "./core.ts";
import type { CpuSequence } from "./cpu-sequence.ts";
import { NotFinite } from "./decoder.ts";
import { mostGuesses } from "./drafts/drafter.ts";
import { Embedding } from "./embedding.ts";
import type { EngineInfo, EngineOptions } from "./engine.ts";
import { kvFormatFor } from "./kv-format.ts";
import { type MachineMemory, requireMemory } from "./memory-need.ts";
import type { LoadOptions } from "./messages.ts";
import { settleRowRule } from "./row-rule.ts";

type OnProgress = NonNullable<EngineOptions["onProgress"]>;

export interface LoadedBackend {
  backend: Backend<CpuSequence>;
  info: EngineInfo;
  /** Folder of the engine file. */
  dir: string;
  /** The files that it reads and that were only sampled at the start. */
  sampled: DigestedRange[];
}

/** The engine as its worker runs it, in this thread. */
export async function loadEngine(options: LoadOptions, onProgress: OnProgress): Promise<EngineCore<CpuSequence>> {
  const { backend, info } = await loadBackend(options, onProgress);
  return new EngineCore(backend, info);
}

/** Resolves the model, builds its engine file if there is none yet, and loads it with all slabs allocated. */
export async function loadBackend(options: LoadOptions, onProgress: OnProgress): Promise<LoadedBackend> {
  const { dir, modelId } = resolveModel(options.model, process.env);
  const window = options.window ?? readWindowAdvice(dir).default;
  const slabGeometry = geometry(options.sink, window);
  const config = readConfig(dir);
  const device = options.device ?? "cpu";
  const kv = await kvFormatFor(options.kv ?? "f32", device, config, window);
  const { layers, kvHeads, headDim } = config;
  const shape = { layers, kvHeads, headDim, numbers: kv === "q8" ? "int8" : "float32" } as const;
  const checkpoint = openCheckpoint(dir);
  const weights = requireTensors(checkpoint, config);
  const sessionBytes = slabBytes(slabGeometry, shape) + config.vocabSize * Float32Array.BYTES_PER_ELEMENT;
  const need = { weights, sessionBytes, quantization: options.quantization, capacity: options.capacity };
  const scarce = requireMemory(need, machineMemory());
  const eos = readEosTokenIds(dir, config.vocabSize);
  const file = await ensureEngineFile({
    modelDir: dir,
    config,
    quantization: options.quantization,
    kv,
    device,
    cacheDir: cacheRoot(),
    onProgress,
  });
  const embedding = new Embedding(checkpoint, config.hiddenSize, file.ranges.embedding);
  const { capacity, threads, adapter = "" } = options;
  const parts = { file, config, embedding, geometry: slabGeometry, kv, capacity, threads, adapter };
  const { backend, decoder, memory, ...run } = await (device === "gpu" ? gpuBackend : cpuBackend)(parts);
  const { exact, finite } = await settleRowRule(backend, decoder);
  decoder.trim(); // the check wanted the logits of a whole block: 19 MB at a vocabulary of 151,936
  if (!finite) {
    await backend.close();
    if (Object.values(file.ranges).every(isWhole)) throw new NotFinite(file.modelPath);
    // The sample missed the damage: build the engine file again.
    discardManifest(file.dir);
    return loadBackend(options, onProgress);
  }
  // ONNX Runtime repacked the weights and won't read most of the file again; and what a first start unpacked from the
  // executable, 50 MB, is not needed again either. Both stay resident until the system is told.
  pageOut(join(file.dir, weightFileName));
  pageOut(process.execPath, "rw-p");
  const info: EngineInfo = {
    modelId,
    modelDir: dir,
    fingerprint: file.fingerprint,
    architecture: config.architecture,
    vocabSize: config.vocabSize,
    sink: options.sink,
    window,
    block,
    quantization: options.quantization,
    kv,
    exact,
    rowMultiple: decoder.rowMultiple,
    kvBytesPerToken: memory.bytesPerToken,
    kvSlabBytes: memory.slabBytes,
    eosTokenIds: eos.ids,
    warnings: [...eos.warnings, windowWarning(dir, window), scarce].filter((warning) => warning !== undefined),
    capacity: options.capacity,
    threads: run.threads,
    facts: backend.facts,
    adapter: options.adapter ?? "",
    draftLimit: options.draft === false ? 0 : mostGuesses,
  };
  return { backend, info, dir: file.dir, sampled: Object.values(file.ranges).filter(isSampled) };
}

function machineMemory(): MachineMemory {
  return { totalBytes: process.constrainedMemory(), availableBytes: process.availableMemory() };
}
