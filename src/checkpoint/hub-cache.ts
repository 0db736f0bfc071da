/**
 * The folder in which huggingface_hub keeps its downloads, shared with everything else that uses it:
 *
 *     models--<org>--<name>/blobs/<hash>                 contents, named by what they hold
 *                           snapshots/<commit>/<file>    links to blobs
 *                           refs/<revision>              the commit that a branch or a tag stood for
 */

import { existsSync, readdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { readRegularFile } from "./regular-file.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** A model on the hub: "Qwen/Qwen3-0.6B", or the old form "gpt2", and which state of it. */
export interface HubModel {
  id: string;
  /** A branch, a tag or a commit. */
  revision: string;
}

const hubName = /^(?<id>\w[\w.-]*(\/\w[\w.-]*)?)(@(?<revision>\w[\w.-]*(\/\w[\w.-]*)*))?$/;

/** Reads "org/name" (its branch main) or "org/name@revision"; undefined when `text` is neither. */
export function parseHubModel(text: string): HubModel | undefined {
  const { id, revision } = hubName.exec(text)?.groups ?? {};
  return id === undefined ? undefined : { id, revision: revision ?? "main" };
}

/** As `parseHubModel` reads it. */
export function hubModelName({ id, revision }: HubModel): string {
  return revision === "main" ? id : `${id}@${revision}`;
}

/** Where huggingface_hub keeps its downloads (its environment variables, in its order): the first is written to. */
export function hubCaches(env: Environment): [string, ...string[]] {
  const cacheHome = env.XDG_CACHE_HOME || join(env.HOME || homedir(), ".cache");
  const standard = join(cacheHome, "huggingface", "hub");
  const named = [env.HF_HUB_CACHE, env.HF_HOME && join(env.HF_HOME, "hub")];
  const [first = standard, ...others] = [...new Set([...named.filter(isNamed), standard])];
  return [first, ...others];
}

function isNamed(path: string | undefined): path is string {
  return path !== undefined && path !== "";
}

export function hubFolder(cache: string, id: string): string {
  return join(cache, `models--${id.replace("/", "--")}`);
}

export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}

/** The snapshot of a revision in a model's folder; undefined when the revision was never downloaded. */
export function snapshotDir(folder: string, revision: string): string | undefined {
  if (isCommit(revision)) {
    const snapshot = join(folder, "snapshots", revision);
    return existsSync(snapshot) ? snapshot : undefined;
  }
  const commit = readRegularFile(join(folder, "refs", revision), 4096);
  return commit === undefined ? undefined : join(folder, "snapshots", commit.trim());
}

/** Every model in the caches, each revision that has a name; the first cache that has one counts. */
export function modelsInHubCaches(env: Environment): (HubModel & { dir: string })[] {
  const found = new Map<string, HubModel & { dir: string }>();
  for (const cache of hubCaches(env)) {
    for (const name of namesIn(cache).filter((name) => name.startsWith("models--"))) {
      const id = name.slice("models--".length).replace("--", "/");
      for (const revision of namesIn(join(cache, name, "refs"))) {
        const model = { id, revision };
        const dir = snapshotDir(join(cache, name), revision);
        if (dir !== undefined && !found.has(hubModelName(model))) found.set(hubModelName(model), { ...model, dir });
      }
    }
  }
  return [...found.values()];
}

/** Nothing where there is no such folder; refs of several parts ("refs/pr/1") are left out. */
function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir, { withFileTypes: true })
      .filter((entry) => !(dir.endsWith("refs") && entry.isDirectory()))
      .map(({ name }) => name)
      .sort();
  } catch {
    return [];
  }
}
