import { closeSync, fsyncSync, ftruncateSync, mkdirSync, openSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, dirname, join } from "node:path";
import type { ModelConfig } from "../checkpoint/config.ts";
import { dtypeBytes } from "../checkpoint/float-conversion.ts";
import { readJsonFile } from "../checkpoint/json-file.ts";
import { ModelChanged } from "../checkpoint/model-error.ts";
import { type Checkpoint, openCheckpoint } from "../checkpoint/safetensors.ts";
import { requireVocabularyFits } from "../checkpoint/vocabulary.ts";
import { embeddingName, requireTensors } from "../checkpoint/weight-shapes.ts";
import { describeFileFailure, requireFreeSpace } from "../files/disk-space.ts";
import { earlierPartName, removeAbandoned, removeDeadParts } from "../files/part.ts";
import { newPartFolder, publishFolder } from "../files/part-folder.ts";
import { type DigestedRange, digestOf, type FileRange, looksIntact } from "./digest.ts";
import { noteUse, removeEarlierEngineFiles } from "./earlier-engine-files.ts";
import { engineKey } from "./engine-key.ts";
import { type EngineDigests, readManifest, writeManifest } from "./engine-manifest.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { buildGraph, graphVersion } from "./graph.ts";
import {
  type Device,
  type KvFormat,
  type Planned,
  type Quantization,
  type WeightPlan,
  weightFileName,
} from "./plan.ts";
import { readVectors, requireFinite, writeEntry } from "./weight-file.ts";
import { writeInThreads } from "./weight-threads.ts";

export interface EngineFileOptions {
  modelDir: string;
  config: ModelConfig;
  quantization: Quantization;
  /** How the cache's rows are stored; absent: as floats. */
  kv?: KvFormat;
  /** What shall run it; absent: the processor. */
  device?: Device;
  /** Root of kakeya's cache; engine files go to `<cacheDir>/engines/<key>/`. */
  cacheDir: string;
  /** Threads that convert the weights; absent: as many as are worth starting for a model of this size. */
  threads?: number;
  onProgress?: (progress: { doneBytes: number; totalBytes: number }) => void;
}

export interface EngineFile {
  dir: string;
  modelPath: string;
  /** SHA-256 (hex) over the configuration, the quantization and every byte that the engine computes with. */
  fingerprint: string;
  /** What the engine reads, to be checked again. */
  ranges: EngineRanges;
}

export type EngineRanges = Readonly<Record<keyof EngineDigests, DigestedRange>>;

const modelFileName = "model.onnx";

/** Weight files below this are written before threads would have started. */
const singleThreadBytes = 64 << 20;

/** Each takes some 150 MB of memory while it works. */
const mostThreads = 4;

/**
 * The engine file of a checkpoint: taken from the cache, or built there.
 *
 * A folder in the cache is used when it is complete (its manifest is written last) and unchanged (each start reads all
 * small files and a random sample of the large ones); otherwise it is built again. Building happens in a folder beside
 * it, which is renamed when its bytes are on the disk; of two processes that build the same model, each ends with a
 * whole folder. Engine files of earlier versions are removed. Throws FileError, and leaves nothing half-written.
 */
export async function ensureEngineFile(options: EngineFileOptions): Promise<EngineFile> {
  const { config, quantization, kv = "f32", device = "cpu" } = options;
  const checkpoint = openCheckpoint(options.modelDir);
  try {
    requireTensors(checkpoint, config);
    const enginesDir = join(options.cacheDir, "engines");
    const builder = graphVersion + (kv === "f32" ? "" : `, cache ${kv}`) + (device === "cpu" ? "" : `, ${device}`);
    const dir = join(enginesDir, engineKey(config, quantization, builder, checkpoint.files));
    removeDeadParts(enginesDir);
    removeAbandoned(enginesDir, earlierPartName);
    try {
      const digests = intactDigests(dir, checkpoint) ?? (await build(dir, checkpoint, options));
      noteUse(dir);
      removeEarlierEngineFiles(enginesDir);
      const fingerprint = fingerprintOf(config, quantization, digests);
      return { dir, modelPath: join(dir, modelFileName), fingerprint, ranges: rangesOf(dir, checkpoint, digests) };
    } catch (error) {
      throw describeFileFailure(enginesDir, error);
    }
  } finally {
    checkpoint.close();
  }
}

/** The digests of the engine file in `dir`; undefined where there is none, or a part of it looks damaged. */
function intactDigests(dir: string, checkpoint: Checkpoint): EngineDigests | undefined {
  const digests = readManifest(dir);
  return digests && Object.values(rangesOf(dir, checkpoint, digests)).every((range) => looksIntact(range))
    ? digests
    : undefined;
}

function rangesOf(dir: string, checkpoint: Checkpoint, { graph, weights, embedding }: EngineDigests): EngineRanges {
  return {
    graph: { file: join(dir, modelFileName), offset: 0, bytes: graph.bytes, digest: graph },
    weights: { file: join(dir, weightFileName), offset: 0, bytes: weights.bytes, digest: weights },
    embedding: { ...embeddingRange(checkpoint), digest: embedding },
  };
}

function embeddingRange(checkpoint: Checkpoint): FileRange {
  const tensor = checkpoint.tensors.get(embeddingName);
  if (tensor === undefined) throw new Error(`${embeddingName} was required before`);
  return { file: tensor.file, offset: tensor.offset, bytes: tensor.elements * dtypeBytes[tensor.dtype] };
}

async function build(dir: string, checkpoint: Checkpoint, options: EngineFileOptions): Promise<EngineDigests> {
  const { config, quantization } = options;
  const tokenizerFile = join(options.modelDir, "tokenizer.json");
  const tokenizer = readJsonFile(tokenizerFile);
  if (tokenizer !== undefined) requireVocabularyFits(tokenizerFile, tokenizer, config.vocabSize);
  const vectors = (names: readonly string[]) => readVectors(checkpoint, names);
  const { plan, model } = buildGraph(config, quantization, vectors, options.kv, undefined, options.device);
  mkdirSync(dirname(dir), { recursive: true, mode: 0o700 });
  requireFreeSpace(dirname(dir), plan.bytes + model.length);
  const part = newPartFolder(dir);
  try {
    const files = [modelFileName, weightFileName].map((name) => join(part, name));
    const [graphFile = "", weightFile = ""] = files;
    const embedding = embeddingRange(checkpoint);
    const onBytes = progressOf(plannedBytes(plan) + plan.bytes + model.length + embedding.bytes, options);

    await writeWeightFile(weightFile, plan, checkpoint, options, onBytes);
    writeFileSync(graphFile, model, { flush: true, mode: 0o600 });
    if (!plan.entries.some(({ sources }) => sources.includes(embeddingName))) requireFinite(checkpoint, embeddingName);
    const digests = {
      graph: digestOf({ file: graphFile, offset: 0, bytes: model.length }, onBytes),
      weights: digestOf({ file: weightFile, offset: 0, bytes: plan.bytes }, onBytes),
      embedding: digestOf(embedding, onBytes),
    };
    const changed = checkpoint.changedFile();
    if (changed !== undefined) throw new ModelChanged(changed);
    writeManifest(part, { key: basename(dir), graphVersion, quantization, ...digests });
    return publishFolder(part, dir, () => intactDigests(dir, checkpoint)) ?? digests;
  } finally {
    rmSync(part, { recursive: true, force: true });
  }
}

function progressOf(totalBytes: number, { onProgress }: EngineFileOptions): (bytes: number) => void {
  let doneBytes = 0;
  return (bytes) => {
    doneBytes += bytes;
    onProgress?.({ doneBytes, totalBytes });
  };
}

/** Writes and flushes the weights. */
async function writeWeightFile(
  file: string,
  plan: WeightPlan,
  checkpoint: Checkpoint,
  options: EngineFileOptions,
  onWritten: (bytes: number) => void,
): Promise<void> {
  const { modelDir } = options;
  const threads =
    options.threads ?? (plan.bytes < singleThreadBytes ? 1 : Math.min(availableParallelism(), mostThreads));
  // The largest first, so that threads end together.
  const entries = [...plan.entries].sort((a, b) => entryBytes(b) - entryBytes(a));
  const fd = openSync(file, "wx", 0o600);
  try {
    ftruncateSync(fd, plan.bytes);
    if (threads > 1) await writeInThreads(threads, { modelDir, file }, entries, onWritten);
    else for (const entry of entries) writeEntry(entry, checkpoint, fd, onWritten);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Bytes that are written: the plan's, without the padding between tensors. */
function plannedBytes(plan: WeightPlan): number {
  return plan.entries.reduce((sum, entry) => sum + entryBytes(entry), 0);
}

function entryBytes(entry: Planned): number {
  return entry.form === "quantized" ? entry.packed.bytes + entry.scales.bytes : entry.tensor.bytes;
}
