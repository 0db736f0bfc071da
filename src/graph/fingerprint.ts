import { createHash, type Hash } from "node:crypto";
import type { ModelConfig } from "../checkpoint/config.ts";
import type { Quantization } from "./plan.ts";

/** The configuration as one string, equal for equal mathematics. */
export function describeConfig(config: ModelConfig): string {
  const plain = { ...config, inverseFrequencies: [...config.inverseFrequencies] };
  return JSON.stringify(plain, (_, value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
}

/** SHA-256 of tensors, taken from the bytes as they pass by on their way into the engine file. */
export class TensorDigests {
  readonly #hashes = new Map<string, Hash>();

  /** What the bytes of a tensor must be shown to, from its first to its last; nothing for one already seen. */
  watch(name: string): ((bytes: Uint8Array) => void) | undefined {
    if (this.#hashes.has(name)) return undefined;
    const hash = createHash("sha256");
    this.#hashes.set(name, hash);
    return (bytes) => void hash.update(bytes);
  }

  /** The digests (hex) by tensor; ends the watching. */
  finish(): Map<string, string> {
    return new Map([...this.#hashes].map(([name, hash]) => [name, hash.digest("hex")]));
  }
}

/** SHA-256 (hex) over configuration, quantization and all tensors, however they are spread over files. */
export function fingerprintOf(
  config: ModelConfig,
  quantization: Quantization,
  digests: ReadonlyMap<string, string>,
): string {
  const tensors = [...digests].sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash("sha256")
    .update(JSON.stringify([describeConfig(config), quantization, tensors]))
    .digest("hex");
}
