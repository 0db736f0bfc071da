import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isJsonObject, type JsonObject, readJsonFile } from "../checkpoint/json-file.ts";
import { ModelError } from "../checkpoint/model-error.ts";
import type { Quantization } from "./plan.ts";

/** What an engine folder says about itself. It is written last, so a folder without it is not complete. */
export interface EngineManifest {
  /** SHA-256 (hex) over the weights' bytes, the configuration and the quantization. */
  fingerprint: string;
  graphVersion: string;
  quantization: Quantization;
}

const manifestFileName = "manifest.json";

/** Larger files are known by their size alone: reading them would take longer than loading them. */
const largestHashedBytes = 64 << 20;

/** Writes the manifest of `dir`, with what `files` are like there. */
export function writeManifest(dir: string, manifest: EngineManifest, files: readonly string[]): void {
  const described = Object.fromEntries(files.map((name) => [name, describe(join(dir, name))]));
  const text = `${JSON.stringify({ ...manifest, files: described }, null, 2)}\n`;
  writeFileSync(join(dir, manifestFileName), text, { flush: true });
}

/** The fingerprint in the manifest of `dir`; undefined when the folder is absent, incomplete or damaged. */
export function readManifest(dir: string): { fingerprint: string } | undefined {
  const manifest = readOrNothing(join(dir, manifestFileName));
  const { fingerprint, files } = manifest ?? {};
  if (typeof fingerprint !== "string" || !isJsonObject(files)) return undefined;
  const whole = Object.entries(files).every(([name, description]) => describe(join(dir, name)) === description);
  return whole ? { fingerprint } : undefined;
}

/** The version of the graph in `dir`; undefined where no engine file is, or only a part of one. */
export function readGraphVersion(dir: string): number | undefined {
  const version = Number(readOrNothing(join(dir, manifestFileName))?.graphVersion);
  return Number.isInteger(version) ? version : undefined;
}

/** A file's size, and the xxHash3 of its bytes where it is small; undefined when there is no such file. */
function describe(file: string): string | undefined {
  const size = statSync(file, { throwIfNoEntry: false })?.size;
  if (size === undefined || size > largestHashedBytes) return size?.toString();
  return `${size} ${Bun.hash.xxHash3(readFileSync(file)).toString(16)}`;
}

function readOrNothing(file: string): JsonObject | undefined {
  try {
    return readJsonFile(file);
  } catch (error) {
    if (error instanceof ModelError) return undefined;
    throw error;
  }
}
