import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readConfig } from "../../src/checkpoint/config.ts";
import { type EngineFile, type EngineFileOptions, ensureEngineFile } from "../../src/graph/engine-file.ts";

export const golden = (name: string) => join(import.meta.dir, "../golden", name);

/** Copies a golden model to where it may be changed. */
export function copyOf(name: string, to: string): string {
  const dir = join(to, name);
  for (const file of ["config.json", "model.safetensors"]) cpSync(join(golden(name), file), join(dir, file));
  return dir;
}

/** Builds the engine file of a model, or takes it from the cache: q8 unless said otherwise. */
export async function ensure(
  modelDir: string,
  cacheDir: string,
  options: Partial<EngineFileOptions> = {},
): Promise<EngineFile> {
  return ensureEngineFile({ modelDir, config: readConfig(modelDir), quantization: "q8", cacheDir, ...options });
}

export const enginesIn = (cacheDir: string) =>
  existsSync(join(cacheDir, "engines")) ? readdirSync(join(cacheDir, "engines")) : [];

export function editJson(file: string, change: Record<string, unknown>): void {
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), ...change }));
}
