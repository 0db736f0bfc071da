/** The files of a model on the hub that the runtime reads. */

import { ModelError } from "./model-error.ts";

/** A file of a repository, with the hash that its content must have. */
export interface HubFile {
  path: string;
  bytes: number;
  /** Large files are known by the SHA-256 of their content, small ones by git's SHA-1, which names the blob. */
  hash: { algorithm: "sha256" | "git"; hex: string };
}

const single = "model.safetensors";
/** Names the weights of a model in several files. */
export const indexName = "model.safetensors.index.json";
const described = [
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "chat_template.jinja",
];

/** All files but the weights. The index is among them only where the weights are in shards: it is read only then. */
export function descriptionFiles(files: readonly HubFile[]): HubFile[] {
  const names = has(files, single) ? described : [...described, indexName];
  return files.filter(({ path }) => names.includes(path));
}

/** The weights; `shards` are those that the index names. Throws ModelError when the repository lacks some. */
export function weightFiles(id: string, files: readonly HubFile[], shards: readonly string[]): HubFile[] {
  const names = has(files, single) ? [single] : shards;
  if (names.length === 0) {
    const other = files.find(({ path }) => /\.(gguf|bin|pth|onnx)$/.test(path));
    const instead = other === undefined ? "" : ` (it has ${other.path})`;
    throw new ModelError(id, `has no ${single} and no ${indexName}${instead}`, "Use a model saved as safetensors");
  }
  return names.map((name) => {
    const file = files.find(({ path }) => path === name);
    if (file === undefined)
      throw new ModelError(id, `lacks ${name}, which ${indexName} names`, "Use another revision of it");
    return file;
  });
}

function has(files: readonly HubFile[], name: string): boolean {
  return files.some(({ path }) => path === name);
}
