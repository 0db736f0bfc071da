import { expect, test } from "bun:test";
import { statSync } from "node:fs";
import { join } from "node:path";
import { readConfig } from "../../src/checkpoint/config.ts";
import { ensureEngineFile } from "../../src/graph/engine-file.ts";
import { engineFileBytes } from "../../src/graph/engine-size.ts";
import { weightFileName } from "../../src/graph/plan.ts";
import { scratchDir } from "../scratch.ts";

const goldens = ["qwen3-tied", "qwen2-bias", "llama3-rope"].map((name) => join(import.meta.dir, "../golden", name));

test.each(["q8", "q4", "f32"] as const)("An engine file of %s takes what was foretold", async (quantization) => {
  using cache = scratchDir();
  for (const modelDir of goldens) {
    const config = readConfig(modelDir);
    const { dir, modelPath } = await ensureEngineFile({ modelDir, config, quantization, cacheDir: cache.path });
    const bytes = statSync(join(dir, weightFileName)).size + statSync(modelPath).size;
    expect(engineFileBytes(config, quantization)).toBe(bytes);
  }
});
