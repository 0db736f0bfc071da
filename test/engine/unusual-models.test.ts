/** Models that are whole but unlike any other, and models that compute no numbers. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { loadEngine } from "../../src/engine/load.ts";
import { presets, writeRandomCheckpoint } from "../../tools/random-checkpoint.ts";
import { editTensor } from "../checkpoint/edit-tensor.ts";
import { rejection } from "../rejection.ts";
import { scratchDir } from "../scratch.ts";
import { generateIds } from "./generating.ts";
import { loadDir, modelDir } from "./models.ts";

test.each([1, 2, 3])("A vocabulary of %i is large enough to be loaded and to generate", async (vocabSize) => {
  using scratch = scratchDir();
  writeRandomCheckpoint(scratch.path, {
    config: { ...presets["llama-multi-head"], vocab_size: vocabSize, eos_token_id: 0 },
    seed: 1,
  });
  const core = await loadDir(scratch.path, {});
  expect(core.info.exact).toBe(true);
  const sequence = await core.create();
  await core.append(sequence, Uint32Array.of(0));
  const { ids } = await generateIds(core, sequence, 1);
  expect(ids[0]).toBeLessThan(vocabSize);
  await core.close();
});

test("A model whose logits are infinite is refused when it is loaded", async () => {
  using scratch = scratchDir();
  const dir = join(scratch.path, "model");
  writeRandomCheckpoint(dir, { config: presets["llama-multi-head"] ?? {}, seed: 1, dtype: "F32" });
  editTensor(dir, "model.norm.weight", (values) => values.fill(3e38));
  const error = await rejection(loadDir(dir, {}));
  expect(error.message).toMatch(/computes logits that are not finite numbers\. .*download it again/);
});

test("A model of which nothing is said gets a window of 1,024, and the embedded one its 64", async () => {
  const options = { quantization: "q8", sink: 4, capacity: 1, threads: 1 } as const;
  for (const [model, window] of [
    ["qwen3-tied", 1024],
    ["kakeya-tiny", 64],
  ] as const) {
    const core = await loadEngine({ ...options, model: modelDir(model) }, () => {});
    expect(core.info.window).toBe(window);
    await core.close();
  }
});
