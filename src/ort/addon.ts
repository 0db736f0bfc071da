import { join } from "node:path";
import { inFirstUsableRoot } from "../cache/folder.ts";
import { type EmbeddedFile, setHash, unpack } from "../cache/unpack.ts";

/**
 * Unpacks ONNX Runtime's libraries, which lie in the executable, and loads the addon among them. The first cache
 * folder from which that works is taken, so that one on a `noexec` file system is passed over.
 * @returns what `require` of the addon would have given
 */
export function openAddon(version: string, files: readonly EmbeddedFile[]): unknown {
  return inFirstUsableRoot("unpack and load ONNX Runtime", (root) => {
    const dir = unpack(files, join(root, "onnxruntime", `${version}-${setHash(files)}`));
    const module = { exports: {} };
    process.dlopen(module, join(dir, "onnxruntime_binding.node"));
    return module.exports;
  });
}
