import { createHash } from "node:crypto";
import type { ModelConfig } from "../checkpoint/config.ts";
import type { EngineDigests } from "./engine-manifest.ts";
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

/** SHA-256 (hex) over configuration, quantization and every byte that the engine computes with. */
export function fingerprintOf(config: ModelConfig, quantization: Quantization, digests: EngineDigests): string {
  const bytes = [digests.graph, digests.weights, digests.embedding].map(({ sha256 }) => sha256);
  return createHash("sha256")
    .update(JSON.stringify([describeConfig(config), quantization, bytes]))
    .digest("hex");
}
