import { existsSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { basename, join, resolve } from "node:path";
import { embeddedModelDir } from "./embedded.ts";
import { ModelError } from "./model-error.ts";
import { readRegularFile } from "./regular-file.ts";

export interface ResolvedModel {
  /** Directory of the Hugging Face checkpoint. */
  dir: string;
  /** The name it was asked for by: a hub id, or a directory's base name. */
  modelId: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** "Qwen/Qwen3-0.6B", or the old form "gpt2". */
const hubId = /^[\w][\w.-]*(\/[\w][\w.-]*)?$/;

/**
 * Finds a model's directory: a directory as it is; a Hugging Face id in the local hub cache, where nothing is
 * downloaded; and the embedded model when nothing is asked for.
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
  if (!hubId.test(idOrPath)) {
    throw new ModelError(
      idOrPath,
      "is no such directory",
      "Give a directory, or a Hugging Face id like Qwen/Qwen3-0.6B",
    );
  }
  return { dir: findInHubCache(idOrPath, env), modelId: idOrPath };
}

/** The snapshot that `refs/main` points at, in the first hub cache that has one. */
function findInHubCache(id: string, env: Environment): string {
  const folders = hubCaches(env).map((cache) => join(cache, `models--${id.replace("/", "--")}`));
  for (const folder of folders) {
    const ref = join(folder, "refs", "main");
    const revision = readRegularFile(ref, 4096);
    if (revision === undefined) continue;
    const snapshot = join(folder, "snapshots", revision.trim());
    if (existsSync(join(snapshot, "config.json"))) return snapshot;
    throw new ModelError(ref, `points at ${snapshot}, which holds no config.json`, `Fetch it again: hf download ${id}`);
  }
  throw new ModelError(
    id,
    `is neither a directory nor in the local Hugging Face cache (looked for refs/main in ${folders.join(", ")})`,
    `Fetch it first: hf download ${id}`,
  );
}

/** Where huggingface_hub keeps its downloads (its environment variables, in its order). */
function hubCaches(env: Environment): string[] {
  const cacheHome = env.XDG_CACHE_HOME || join(env.HOME || homedir(), ".cache");
  const caches = [env.HF_HUB_CACHE, env.HF_HOME && join(env.HF_HOME, "hub"), join(cacheHome, "huggingface", "hub")];
  return [...new Set(caches.filter((path): path is string => path !== undefined && path !== ""))];
}
