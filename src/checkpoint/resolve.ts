import { existsSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { embeddedModelDir } from "./embedded.ts";
import {
  type Environment,
  type HubModel,
  hubCaches,
  hubFolder,
  hubModelName,
  isCommit,
  parseHubModel,
  snapshotDir,
} from "./hub-cache.ts";
import { ModelError } from "./model-error.ts";

export interface ResolvedModel {
  /** Directory of the Hugging Face checkpoint. */
  dir: string;
  /** The name it was asked for by: a hub id, or a directory's base name. */
  modelId: string;
}

/**
 * Finds a model's directory: a directory as it is; a Hugging Face id, with "@revision" or without, in the local hub
 * cache, where nothing is downloaded; and the embedded model when no name is given.
 *
 * Throws ModelError, with the places looked at and the command that would fetch the model.
 */
export function resolveModel(idOrPath: string | undefined, env: Environment): ResolvedModel {
  if (idOrPath === undefined) {
    const dir = embeddedModelDir();
    return { dir, modelId: basename(dir) };
  }
  const stats = statSync(idOrPath, { throwIfNoEntry: false });
  if (stats?.isDirectory()) return { dir: resolve(idOrPath), modelId: basename(resolve(idOrPath)) };
  if (stats !== undefined) {
    throw new ModelError(
      idOrPath,
      "is a file",
      "Give the directory of a Hugging Face checkpoint (config.json, *.safetensors)",
    );
  }
  const model = parseHubModel(idOrPath);
  if (model === undefined) {
    throw new ModelError(
      idOrPath,
      "there is no such directory",
      "Give a directory, or a Hugging Face id like Qwen/Qwen3-0.6B",
    );
  }
  return { dir: findInHubCache(model, env), modelId: idOrPath };
}

/** The snapshot of the revision, in the first hub cache that has one. */
function findInHubCache(model: HubModel, env: Environment): string {
  const fetch = `kakeya pull ${hubModelName(model)}`;
  const folders = hubCaches(env).map((cache) => hubFolder(cache, model.id));
  for (const folder of folders) {
    const snapshot = snapshotDir(folder, model.revision);
    if (snapshot === undefined) continue;
    if (existsSync(join(snapshot, "config.json"))) return snapshot;
    const ref = join(folder, "refs", model.revision);
    throw new ModelError(ref, `points at ${snapshot}, which holds no config.json`, `Fetch it again: ${fetch}`);
  }
  const place = isCommit(model.revision) ? `snapshots/${model.revision}` : `refs/${model.revision}`;
  throw new ModelError(
    hubModelName(model),
    `is neither a directory nor in the local Hugging Face cache (looked for ${place} in ${folders.join(", ")})`,
    `Fetch it first: ${fetch}`,
  );
}
