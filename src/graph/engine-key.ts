import { createHash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { basename } from "node:path";
import type { ModelConfig } from "../checkpoint/config.ts";
import { describeConfig } from "./fingerprint.ts";
import type { Quantization } from "./plan.ts";

/** Files up to this size are hashed in full: a few milliseconds. */
const smallBytes = 32 << 20;

/** Larger ones are known by size, modification time and this many samples, the header's beginning among them. */
const samples = 16;
const sampleBytes = 1 << 16;

/**
 * The name of the folder that holds a model's engine file. It changes when configuration, quantization, the graph's
 * builder or a weight file changes, and takes milliseconds to compute even where the weights take gigabytes.
 */
export function engineKey(
  config: ModelConfig,
  quantization: Quantization,
  builderVersion: string,
  weightFiles: readonly string[],
): string {
  const hash = createHash("sha256");
  hash.update(JSON.stringify([describeConfig(config), quantization, builderVersion]));
  for (const file of weightFiles) hash.update(`\n${basename(file)} ${identity(file)}`);
  return hash.digest("hex").slice(0, 32);
}

function identity(file: string): string {
  const fd = openSync(file, "r");
  try {
    const { size, mtimeMs } = fstatSync(fd);
    const whole = size <= smallBytes;
    const piece = Buffer.alloc(whole ? size : sampleBytes);
    const hash = createHash("sha256");
    for (let i = 0; i < (whole ? 1 : samples); i++) {
      const position = Math.floor((i * (size - piece.length)) / (samples - 1));
      hash.update(piece.subarray(0, readSync(fd, piece, 0, piece.length, position)));
    }
    return `${size} ${whole ? "" : mtimeMs} ${hash.digest("hex")}`;
  } finally {
    closeSync(fd);
  }
}
