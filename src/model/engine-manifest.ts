import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isJsonObject, type JsonObject, readJsonFile } from "./json-file.ts";
import { ModelError } from "./model-error.ts";
import type { Quantization } from "./plan.ts";

/** What an engine folder says about itself. It is written last, so a folder without it is not complete. */
export interface EngineManifest {
  /** SHA-256 (hex) over the weights' bytes, the configuration and the quantization. */
  fingerprint: string;
  graphVersion: string;
  quantization: Quantization;
}

const manifestFileName = "manifest.json";

/** Writes the manifest of `dir`, with the sizes that `files` have there. */
export function writeManifest(dir: string, manifest: EngineManifest, files: readonly string[]): void {
  const sizes = Object.fromEntries(files.map((name) => [name, statSync(join(dir, name)).size]));
  const text = `${JSON.stringify({ ...manifest, files: sizes }, null, 2)}\n`;
  writeFileSync(join(dir, manifestFileName), text, { flush: true });
}

/** The fingerprint in the manifest of `dir`; undefined when the folder is absent, incomplete or damaged. */
export function readManifest(dir: string): { fingerprint: string } | undefined {
  const manifest = readOrNothing(join(dir, manifestFileName));
  const { fingerprint, files } = manifest ?? {};
  if (typeof fingerprint !== "string" || !isJsonObject(files)) return undefined;
  const complete = Object.entries(files).every(
    ([name, size]) => statSync(join(dir, name), { throwIfNoEntry: false })?.size === size,
  );
  return complete ? { fingerprint } : undefined;
}

function readOrNothing(file: string): JsonObject | undefined {
  try {
    return readJsonFile(file);
  } catch (error) {
    if (error instanceof ModelError) return undefined;
    throw error;
  }
}
