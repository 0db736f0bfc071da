import { createHash, type Hash } from "node:crypto";
import type { Quantization } from "../engine/engine.ts";
import type { ModelConfig } from "./config.ts";

/** The configuration as one string, equal for equal mathematics. */
export function describeConfig(config: ModelConfig): string {
  const plain = { ...config, inverseFrequencies: [...config.inverseFrequencies] };
  return JSON.stringify(plain, (_, value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
}

/** SHA-256 of each tensor, taken from the bytes as they pass by on their way into the engine file. */
export class TensorDigests {
  readonly #hashes = new Map<string, Hash>();

  /** What the bytes of a tensor must be shown to, from its first to its last; nothing for one already seen. */
  watch(name: string): ((bytes: Uint8Array) => void) | undefined {
    if (this.#hashes.has(name)) return undefined;
    const hash = createHash("sha256");
    this.#hashes.set(name, hash);
    return (bytes) => void hash.update(bytes);
  }

  /** SHA-256 (hex) over configuration, quantization and all tensors, however they are spread over files. */
  fingerprint(config: ModelConfig, quantization: Quantization): string {
    const all = createHash("sha256").update(JSON.stringify([describeConfig(config), quantization]));
    for (const [name, hash] of [...this.#hashes].sort(([a], [b]) => (a < b ? -1 : 1))) {
      all.update(`\n${name}\n`).update(hash.digest());
    }
    return all.digest("hex");
  }
}
