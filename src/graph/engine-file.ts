import { closeSync, fsyncSync, ftruncateSync, mkdirSync, openSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import type { ModelConfig } from "../checkpoint/config.ts";
import { readJsonFile } from "../checkpoint/json-file.ts";
import { type Checkpoint, openCheckpoint } from "../checkpoint/safetensors.ts";
import { requireVocabularyFits } from "../checkpoint/vocabulary.ts";
import { checkpointShapes, requireTensors } from "../checkpoint/weight-shapes.ts";
import { describeFileFailure, requireFreeSpace } from "../files/disk-space.ts";
import { removeDeadParts } from "../files/part.ts";
import { newPartFolder, publishFolder } from "../files/part-folder.ts";
import { noteUse, removeEarlierEngineFiles } from "./earlier-engine-files.ts";
import { engineKey } from "./engine-key.ts";
import { readManifest, writeManifest } from "./engine-manifest.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { buildGraph, graphVersion, weightFileName } from "./graph.ts";
import type { Planned, Quantization, WeightPlan } from "./plan.ts";
import { performTask, type WeightTask } from "./weight-file.ts";
import { performInThreads } from "./weight-threads.ts";

export interface EngineFileOptions {
  modelDir: string;
  config: ModelConfig;
  quantization: Quantization;
  /** Root of kakeya's cache; engine files go to `<cacheDir>/engines/<key>/`. */
  cacheDir: string;
  /** Threads that convert the weights; absent: as many as pay for a model of this size. */
  threads?: number;
  onProgress?: (progress: { doneBytes: number; totalBytes: number }) => void;
}

export interface EngineFile {
  dir: string;
  modelPath: string;
  /** SHA-256 (hex) over the weights' bytes, the configuration and the quantization. */
  fingerprint: string;
}

const modelFileName = "model.onnx";

/** Weight files below this are written before threads would have started. */
const singleThreadBytes = 64 << 20;

/** Each takes some 150 MB of memory while it works. */
const mostThreads = 4;

/**
 * The engine file of a checkpoint: taken from the cache, or built there.
 *
 * A folder of the cache is either complete (its manifest is written last, and names every file's size) or is built
 * anew. Building happens in a folder beside it, which is renamed when its bytes are on the disk; two processes that
 * build the same model both end with a whole one. Engine files of earlier versions are removed. Throws FileError, and leaves nothing half-written behind.
 */
export async function ensureEngineFile(options: EngineFileOptions): Promise<EngineFile> {
  const { config, quantization } = options;
  const checkpoint = openCheckpoint(options.modelDir);
  try {
    requireTensors(checkpoint, config);
    const enginesDir = join(options.cacheDir, "engines");
    const dir = join(enginesDir, engineKey(config, quantization, graphVersion, checkpoint.files));
    removeDeadParts(enginesDir);
    try {
      const fingerprint = readManifest(dir)?.fingerprint ?? (await build(dir, checkpoint, options));
      noteUse(dir);
      removeEarlierEngineFiles(enginesDir);
      return { dir, modelPath: join(dir, modelFileName), fingerprint };
    } catch (error) {
      throw describeFileFailure(enginesDir, error);
    }
  } finally {
    checkpoint.close();
  }
}

/** Returns the fingerprint. */
async function build(dir: string, checkpoint: Checkpoint, options: EngineFileOptions): Promise<string> {
  const { config, quantization } = options;
  const tokenizerFile = join(options.modelDir, "tokenizer.json");
  const tokenizer = readJsonFile(tokenizerFile);
  if (tokenizer !== undefined) requireVocabularyFits(tokenizerFile, tokenizer, config.vocabSize);
  const { plan, model } = buildGraph(config, quantization);
  mkdirSync(dirname(dir), { recursive: true });
  requireFreeSpace(dirname(dir), plan.bytes + model.length);
  const part = newPartFolder(dir);
  try {
    const fingerprint = await writeWeightFile(join(part, weightFileName), plan, checkpoint, options);
    writeFileSync(join(part, modelFileName), model, { flush: true });
    writeManifest(part, { fingerprint, graphVersion, quantization }, [weightFileName, modelFileName]);
    return publishFolder(part, dir, () => readManifest(dir)?.fingerprint) ?? fingerprint;
  } finally {
    rmSync(part, { recursive: true, force: true });
  }
}

/** Writes and flushes the weights; returns the fingerprint of what went by. */
async function writeWeightFile(
  file: string,
  plan: WeightPlan,
  checkpoint: Checkpoint,
  options: EngineFileOptions,
): Promise<string> {
  const { modelDir, config, quantization, onProgress } = options;
  const totalBytes = plannedBytes(plan);
  const threads =
    options.threads ?? (totalBytes < singleThreadBytes ? 1 : Math.min(availableParallelism(), mostThreads));
  let doneBytes = 0;
  const onWritten = (bytes: number) => {
    doneBytes += bytes;
    onProgress?.({ doneBytes, totalBytes });
  };

  const fd = openSync(file, "wx");
  try {
    ftruncateSync(fd, plan.bytes);
    const tasks = tasksOf(plan, config);
    const digests =
      threads > 1
        ? await performInThreads(threads, { modelDir, file }, tasks, onWritten)
        : new Map(tasks.flatMap((task) => [...performTask(task, checkpoint, fd, onWritten)]));
    fsyncSync(fd);
    return fingerprintOf(config, quantization, digests);
  } finally {
    closeSync(fd);
  }
}

/** The largest first, so that threads end together. */
function tasksOf(plan: WeightPlan, config: ModelConfig): WeightTask[] {
  const written = new Set(plan.entries.flatMap(({ sources }) => sources));
  // An embedding that is not also the head stays in the checkpoint, and counts for the fingerprint all the same.
  const hashed = [...checkpointShapes(config).keys()].filter((name) => !written.has(name));
  const entries = [...plan.entries].sort((a, b) => entryBytes(b) - entryBytes(a));
  return [...hashed.map((name) => ({ hash: name })), ...entries.map((entry) => ({ write: entry }))];
}

/** Bytes that are written: the plan's, without the padding between tensors. */
function plannedBytes(plan: WeightPlan): number {
  return plan.entries.reduce((sum, entry) => sum + entryBytes(entry), 0);
}

function entryBytes(entry: Planned): number {
  return entry.form === "quantized" ? entry.packed.bytes + entry.scales.bytes : entry.tensor.bytes;
}
