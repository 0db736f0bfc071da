import { createHash } from "node:crypto";
import { rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { type JsonObject, readJsonFile } from "../checkpoint/json-file.ts";
import { ModelError } from "../checkpoint/model-error.ts";
import { type Digest, parseDigest } from "./digest.ts";
import type { Quantization } from "./plan.ts";

/** What the engine reads, and what its bytes were when they were written. */
export interface EngineDigests {
  graph: Digest;
  weights: Digest;
  /** The checkpoint's own table; rows of it are read while serving. */
  embedding: Digest;
}

/** What an engine folder says about itself. It is written last, so a folder without it is not complete. */
export interface EngineManifest extends EngineDigests {
  /** The folder's name, which says what it was built from. */
  key: string;
  graphVersion: string;
  quantization: Quantization;
}

const manifestFileName = "manifest.json";

/** Writes the manifest of the folder that is being filled, with a SHA-256 of its own. */
export function writeManifest(dir: string, manifest: EngineManifest): void {
  const text = `${JSON.stringify({ ...manifest, sha256: sha256Of(manifest) })}\n`;
  writeFileSync(join(dir, manifestFileName), text, { flush: true, mode: 0o600 });
}

/** The digests in the manifest of `dir`; undefined when it is absent, damaged, or another folder's. */
export function readManifest(dir: string): EngineDigests | undefined {
  const { sha256, ...manifest } = readOrNothing(join(dir, manifestFileName)) ?? {};
  if (sha256 !== sha256Of(manifest) || manifest.key !== basename(dir)) return undefined;
  const [graph, weights, embedding] = [manifest.graph, manifest.weights, manifest.embedding].map(parseDigest);
  return graph && weights && embedding ? { graph, weights, embedding } : undefined;
}

/** Makes the next start build the engine file in `dir` again, because this one was found damaged. */
export function discardManifest(dir: string): void {
  rmSync(join(dir, manifestFileName), { recursive: true, force: true });
}

/** The version of the graph in `dir`; undefined where no engine file is, or only a part of one. */
export function readGraphVersion(dir: string): number | undefined {
  const version = Number(readOrNothing(join(dir, manifestFileName))?.graphVersion);
  return Number.isInteger(version) ? version : undefined;
}

function sha256Of(manifest: object): string {
  return createHash("sha256").update(JSON.stringify(manifest)).digest("hex");
}

function readOrNothing(file: string): JsonObject | undefined {
  try {
    return readJsonFile(file);
  } catch (error) {
    if (error instanceof ModelError) return undefined;
    throw error;
  }
}
