import { closeSync, fsyncSync, ftruncateSync, mkdirSync, openSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Quantization } from "../engine/engine.ts";
import type { ModelConfig } from "./config.ts";
import { describeFileFailure, requireFreeSpace } from "./disk-space.ts";
import { engineKey } from "./engine-key.ts";
import { readManifest, writeManifest } from "./engine-manifest.ts";
import { TensorDigests } from "./fingerprint.ts";
import { buildGraph, graphVersion, weightFileName } from "./graph.ts";
import { readJsonFile } from "./json-file.ts";
import { newPartFolder, publishFolder, removeDeadPartFolders } from "./part-folder.ts";
import type { WeightPlan } from "./plan.ts";
import { type Checkpoint, openCheckpoint } from "./safetensors.ts";
import { requireVocabularyFits } from "./vocabulary.ts";
import { readInPieces, writeWeights } from "./weight-file.ts";
import { checkpointShapes } from "./weight-shapes.ts";

export interface EngineFileOptions {
  modelDir: string;
  config: ModelConfig;
  quantization: Quantization;
  /** Root of kakeya's cache; engine files go to `<cacheDir>/engines/<key>/`. */
  cacheDir: string;
  onProgress?: (progress: { doneBytes: number; totalBytes: number }) => void;
}

export interface EngineFile {
  dir: string;
  modelPath: string;
  /** SHA-256 (hex) over the weights' bytes, the configuration and the quantization. */
  fingerprint: string;
}

const modelFileName = "model.onnx";

/**
 * The engine file of a checkpoint: taken from the cache, or built there.
 *
 * A folder of the cache is either complete (its manifest is written last, and names every file's size) or is built
 * anew. Building happens in a folder beside it, which is renamed when its bytes are on the disk; two processes that
 * build the same model both end with a whole one. Throws ModelError, and leaves nothing half-written behind.
 */
export function ensureEngineFile(options: EngineFileOptions): EngineFile {
  const { config, quantization } = options;
  const checkpoint = openCheckpoint(options.modelDir);
  try {
    for (const [name, shape] of checkpointShapes(config)) checkpoint.require(name, shape);
    const enginesDir = join(options.cacheDir, "engines");
    const dir = join(enginesDir, engineKey(config, quantization, graphVersion, checkpoint.files));
    removeDeadPartFolders(enginesDir);
    try {
      const fingerprint = readManifest(dir)?.fingerprint ?? build(dir, checkpoint, options);
      return { dir, modelPath: join(dir, modelFileName), fingerprint };
    } catch (error) {
      throw describeFileFailure(enginesDir, error);
    }
  } finally {
    checkpoint.close();
  }
}

/** Returns the fingerprint. */
function build(dir: string, checkpoint: Checkpoint, options: EngineFileOptions): string {
  const { config, quantization } = options;
  const tokenizerFile = join(options.modelDir, "tokenizer.json");
  const tokenizer = readJsonFile(tokenizerFile);
  if (tokenizer !== undefined) requireVocabularyFits(tokenizerFile, tokenizer, config.vocabSize);
  const { plan, model } = buildGraph(config, quantization);
  mkdirSync(dirname(dir), { recursive: true });
  requireFreeSpace(dirname(dir), plan.bytes + model.length);
  const part = newPartFolder(dir);
  try {
    const fingerprint = writeWeightFile(join(part, weightFileName), plan, checkpoint, options);
    writeFileSync(join(part, modelFileName), model, { flush: true });
    writeManifest(part, { fingerprint, graphVersion, quantization }, [weightFileName, modelFileName]);
    return publishFolder(part, dir, () => readManifest(dir)?.fingerprint) ?? fingerprint;
  } finally {
    rmSync(part, { recursive: true, force: true });
  }
}

/** Writes and flushes the weights; returns the fingerprint of what went by. */
function writeWeightFile(file: string, plan: WeightPlan, checkpoint: Checkpoint, options: EngineFileOptions): string {
  const { config, quantization, onProgress } = options;
  const totalBytes = plannedBytes(plan);
  const digests = new TensorDigests();
  const fd = openSync(file, "wx");
  try {
    ftruncateSync(fd, plan.bytes);
    let doneBytes = 0;
    writeWeights(fd, plan, checkpoint, digests, (bytes) => {
      doneBytes += bytes;
      onProgress?.({ doneBytes, totalBytes });
    });
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  for (const name of checkpointShapes(config).keys()) digestUnread(name, checkpoint, digests);
  return digests.fingerprint(config, quantization);
}

/** An embedding that is not also the head stays in the checkpoint, and counts for the fingerprint all the same. */
function digestUnread(name: string, checkpoint: Checkpoint, digests: TensorDigests): void {
  const watch = digests.watch(name);
  if (watch !== undefined) readInPieces(checkpoint, name, watch);
}

/** Bytes that are written: the plan's, without the padding between tensors. */
function plannedBytes(plan: WeightPlan): number {
  return plan.entries.reduce(
    (sum, entry) => sum + (entry.form === "quantized" ? entry.packed.bytes + entry.scales.bytes : entry.tensor.bytes),
    0,
  );
}
