/** A backend for a device: what a model's engine file, its memory for sessions and its steps are put together to. */
import { statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { ModelConfig } from "../checkpoint/config.ts";
import type { EngineFile } from "../graph/engine-file.ts";
import { type KvFormat, weightFileName } from "../graph/plan.ts";
import type { Geometry } from "../kv/geometry.ts";
import { RemoteRows } from "../kv/remote-rows.ts";
import { SlabMemory } from "../kv/slab-memory.ts";
import { setDriverEnvironment } from "../ort/driver-environment.ts";
import { InferenceSession } from "../ort/index.ts";
import { sessionOptions } from "../ort/session-options.ts";
import type { Backend } from "./backend.ts";
import { CpuBackend } from "./cpu-backend.ts";
import type { CpuSequence } from "./cpu-sequence.ts";
import { Decoder } from "./decoder.ts";
import type { Embedding } from "./embedding.ts";
import { GpuBackend } from "./gpu-backend.ts";
import { GpuRings } from "./gpu-rings.ts";
import { GpuSession } from "./gpu-session.ts";

export interface BackendParts {
  file: EngineFile;
  config: ModelConfig;
  embedding: Embedding;
  geometry: Geometry;
  kv: KvFormat;
  capacity: number;
  /** Absent: chosen from the machine and the model. */
  threads: number | undefined;
  /** What the GPU is called. */
  adapter: string;
}

export interface Assembled {
  backend: Backend<CpuSequence>;
  decoder: Decoder;
  memory: SlabMemory;
  /** That compute. */
  threads: number;
}

/** Weight files below this run faster on one thread than on several: a step is over before the others wake up. */
const singleThreadBytes = 32 * 2 ** 20;

export async function cpuBackend(parts: BackendParts): Promise<Assembled> {
  const { file, config, embedding, kv } = parts;
  const memory = allocate(() => slabMemory(parts));
  const small = statSync(join(file.dir, weightFileName)).size < singleThreadBytes;
  const threads = parts.threads ?? (small ? 1 : availableParallelism());
  const session = await InferenceSession.create(file.modelPath, sessionOptions(threads));
  const decoder = new Decoder(session, config, memory, embedding, kv);
  return { backend: new CpuBackend(memory, decoder, config.vocabSize, file.fingerprint), decoder, memory, threads };
}

export async function gpuBackend(parts: BackendParts): Promise<Assembled> {
  setDriverEnvironment();
  const { file, config, embedding, geometry, kv, capacity, adapter } = parts;
  const shape = shapeOf(config, kv);
  const newRows = () => new RemoteRows(geometry, shape, capacity);
  const rows = Array.from({ length: config.layers }, () => ({ key: newRows(), value: newRows() }));
  const memory = allocate(() => new SlabMemory(geometry, shape, capacity, config.inverseFrequencies, rows));
  const rings = await GpuRings.open(config, geometry, capacity, rows);
  const decoder = new Decoder(await GpuSession.create(file.modelPath), config, memory, embedding, kv, rings);
  const computedOn = { device: "gpu", instructions: adapter } as const;
  const here = new CpuBackend(memory, decoder, config.vocabSize, file.fingerprint, computedOn);
  return { backend: new GpuBackend(here, rings), decoder, memory, threads: 1 };
}

function slabMemory({ config, geometry, kv, capacity }: BackendParts): SlabMemory {
  return new SlabMemory(geometry, shapeOf(config, kv), capacity, config.inverseFrequencies);
}

function shapeOf({ layers, kvHeads, headDim }: ModelConfig, kv: KvFormat) {
  return { layers, kvHeads, headDim, numbers: kv === "q8" ? "int8" : "float32" } as const;
}

/** An array holds at most 4 GiB, however much memory there is. */
function allocate<T>(make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new Error(`the sessions are too large for one array (${error.message}): lower --capacity or --window`);
  }
}
