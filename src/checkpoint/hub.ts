/** Requests to the Hugging Face hub, made with @huggingface/hub. */

import { downloadFile, listFiles, modelInfo } from "@huggingface/hub";
import { type Environment, type HubModel, hubModelName, isCommit } from "./hub-cache.ts";
import type { HubFile } from "./hub-files.ts";
import { ModelError } from "./model-error.ts";

export interface Hub {
  /** "https://huggingface.co", or what HF_ENDPOINT names. */
  hubUrl: string;
  /** HF_TOKEN. */
  accessToken?: string;
}

/** Throws ModelError when the environment forbids requests, or holds an impossible value. */
export function hubOf(model: HubModel, env: Environment): Hub {
  const { HF_HUB_OFFLINE: offline, HF_TOKEN: accessToken, HF_ENDPOINT: endpoint } = env;
  if (["1", "true", "yes", "on"].includes(offline?.toLowerCase() ?? "")) {
    throw new ModelError(
      hubModelName(model),
      `can't be pulled: HF_HUB_OFFLINE is ${offline}`,
      "Unset it to use the hub",
    );
  }
  const hubUrl = (endpoint || "https://huggingface.co").replace(/\/+$/, "");
  if (!URL.canParse(hubUrl)) {
    throw new ModelError(
      "HF_ENDPOINT",
      `is ${JSON.stringify(endpoint)}, not a URL`,
      "Set it like https://huggingface.co",
    );
  }
  if (!accessToken) return { hubUrl };
  if (accessToken.startsWith("hf_")) return { hubUrl, accessToken };
  throw new ModelError("HF_TOKEN", "does not begin with hf_, as tokens of the hub do", "Correct it, or unset it");
}

/** The commit that a branch or a tag stands for now. */
export async function commitOf(hub: Hub, { id, revision }: HubModel): Promise<string> {
  const { sha } = await modelInfo({ ...hub, name: id, revision, additionalFields: ["sha"] });
  if (typeof sha === "string" && isCommit(sha)) return sha;
  throw new Error(`its answer names no commit, but ${JSON.stringify(sha)}`);
}

/** The files of a commit, without those in folders. */
export async function filesOf(hub: Hub, id: string, commit: string): Promise<HubFile[]> {
  const files: HubFile[] = [];
  for await (const { type, path, size, oid = "", lfs } of listFiles({ ...hub, repo: id, revision: commit })) {
    if (type !== "file") continue;
    const hash =
      lfs === undefined ? ({ algorithm: "git", hex: oid } as const) : ({ algorithm: "sha256", hex: lfs.oid } as const);
    const digits = hash.algorithm === "git" ? 40 : 64;
    if (!Number.isSafeInteger(size) || size < 0) throw new Error(`its answer names no size of ${path}`);
    // It becomes the name of a file.
    if (hash.hex.length !== digits || !/^[0-9a-f]+$/.test(hash.hex))
      throw new Error(`its answer names no hash of ${path}`);
    files.push({ path, bytes: size, hash });
  }
  return files;
}

/** The bytes of a file from `offset` on. */
export async function bytesFrom(
  hub: Hub,
  id: string,
  commit: string,
  file: HubFile,
  offset: number,
): Promise<AsyncIterable<Uint8Array>> {
  const blob = await downloadFile({ ...hub, repo: id, path: file.path, revision: commit, xet: false });
  if (blob === null) throw contradiction(id, `lists ${file.path}, but does not have it`);
  if (blob.size !== file.bytes) {
    throw contradiction(id, `lists ${file.path} with ${file.bytes} bytes, but has ${blob.size}`);
  }
  return blob.slice(offset).stream();
}

function contradiction(id: string, problem: string): ModelError {
  return new ModelError(
    id,
    `the hub ${problem}`,
    "Try again; if that does not help, a mirror on the way is out of date",
  );
}
