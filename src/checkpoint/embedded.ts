import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { inFirstUsableRoot } from "../cache/folder.ts";
import { setHash, unpack } from "../cache/unpack.ts";
import { embeddedModel } from "./embedded-files.ts";

/**
 * The default model as a Hugging Face directory. In the executable it is unpacked into the cache folder first;
 * run from source, it is the repository's own.
 */
export function embeddedModelDir(): string {
  if (embeddedModel === undefined) return fileURLToPath(new URL("../../models/kakeya-tiny", import.meta.url));
  const { name, files } = embeddedModel;
  return inFirstUsableRoot("unpack the embedded model", (root) =>
    unpack(files, join(root, "models", setHash(files), name)),
  );
}
