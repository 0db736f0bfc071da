import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { requireFreeSpace } from "../files/disk-space.ts";
import { readConfig } from "./config.ts";
import { bytesFrom, commitOf, filesOf, type Hub, hubOf } from "./hub.ts";
import {
  type Environment,
  type HubModel,
  hubCaches,
  hubFolder,
  hubModelName,
  isCommit,
  parseHubModel,
} from "./hub-cache.ts";
import { type DownloadOptions, download, sizeOf } from "./hub-download.ts";
import { describeHubFailure, mayPass } from "./hub-failure.ts";
import { descriptionFiles, type HubFile, indexName, weightFiles } from "./hub-files.ts";
import { HubSnapshot } from "./hub-snapshot.ts";
import { readJsonFile } from "./json-file.ts";
import { ModelError } from "./model-error.ts";
import { shardsOf } from "./safetensors.ts";

export interface PullOptions {
  env: Environment;
  /** Counts what was missing when the pull began. */
  onProgress?: (progress: { doneBytes: number; totalBytes: number }) => void;
  /** Waits before the next attempt; `failures` counts those in a row that brought nothing. */
  wait?: (failures: number) => Promise<void>;
}

export interface PulledModel {
  /** As `--model` takes it. */
  modelId: string;
  commit: string;
  /** The snapshot's folder. */
  dir: string;
  files: string[];
  bytes: number;
  /** Of `bytes`, those that were not there before. */
  downloadedBytes: number;
}

/**
 * Downloads the files of a model that kakeya reads into the local Hugging Face cache, where other programs find them,
 * too. `name` is "org/name" or "org/name@revision". The revision gets its name once all files are there and their
 * hashes are right, so that a pull that fails changes nothing for those who use the model.
 *
 * It makes its requests and reads ranges with @huggingface/hub. That library's own download into the cache can't
 * continue where it stopped, and checks no hashes. Its xet protocol stays off: the hub serves the same bytes by plain
 * ranges, which can continue at any byte.
 *
 * Throws ModelError or FileError, which say what to do.
 */
export async function pull(name: string, options: PullOptions): Promise<PulledModel> {
  const model = parseHubModel(name);
  if (model === undefined) {
    throw new ModelError(
      name,
      "is not a model's name on the hub",
      "Give org/name or org/name@revision, like Qwen/Qwen3-0.6B",
    );
  }
  const hub = hubOf(model, options.env);
  try {
    return await pullFrom(hub, model, options);
  } catch (error) {
    throw describeHubFailure(error, model, hub);
  }
}

async function pullFrom(hub: Hub, model: HubModel, options: PullOptions): Promise<PulledModel> {
  const commit = await commitOf(hub, model);
  const listed = await filesOf(hub, model.id, commit);
  const [cache] = hubCaches(options.env);
  const snapshot = new HubSnapshot(hubFolder(cache, model.id), commit);
  const fetchMissing = fetcher(snapshot, options, (file, offset) => bytesFrom(hub, model.id, commit, file, offset));

  const described = descriptionFiles(listed);
  const describedBytes = await fetchMissing(described);
  readConfig(snapshot.dir); // A model that can't run is refused before gigabytes are downloaded.
  const weights = weightFiles(hubModelName(model), listed, shardNames(snapshot.dir, described));
  const weightBytes = await fetchMissing(weights);

  if (!isCommit(model.revision)) snapshot.name(model.revision);
  const files = [...described, ...weights];
  return {
    modelId: hubModelName(model),
    commit,
    dir: snapshot.dir,
    files: files.map(({ path }) => path),
    bytes: files.reduce((sum, file) => sum + file.bytes, 0),
    downloadedBytes: describedBytes + weightBytes,
  };
}

/** Downloads what is missing of some files, where there is space for it; returns the bytes that came. */
function fetcher(
  snapshot: HubSnapshot,
  { onProgress, wait = backOff }: PullOptions,
  bytesFrom: DownloadOptions["bytesFrom"],
): (files: readonly HubFile[]) => Promise<number> {
  return async (files) => {
    const missing = snapshot.missing(files);
    const totalBytes = missing.reduce((sum, { file, part }) => sum + Math.max(0, file.bytes - sizeOf(part)), 0);
    requireFreeSpace(snapshot.folder, totalBytes, "what is missing of the model", "HF_HUB_CACHE");
    let doneBytes = 0;
    const onBytes = (count: number) => {
      doneBytes += count;
      onProgress?.({ doneBytes, totalBytes });
    };
    for (const work of missing) await download(work, { bytesFrom, mayPass, wait, onBytes });
    for (const file of files) snapshot.link(file);
    return doneBytes;
  };
}

/** The names of the shards, where the weights are in several files. */
function shardNames(dir: string, described: readonly HubFile[]): string[] {
  if (!described.some(({ path }) => path === indexName)) return [];
  const file = join(dir, indexName);
  return [...shardsOf(file, readJsonFile(file) ?? {}).keys()];
}

/** 1, 2, 4, 8 and 16 seconds. */
function backOff(failures: number): Promise<void> {
  return sleep(1000 * 2 ** (failures - 1));
}
