import { expect, test } from "bun:test";
import { join } from "node:path";
import { loadBackend } from "../../src/engine/load.ts";
import { presets, writeRandomCheckpoint } from "../../tools/random-checkpoint.ts";
import { rejection } from "../rejection.ts";
import { scratchDir } from "../scratch.ts";
import { loadCore } from "./models.ts";

test("auto takes 8 bits for a long window and floats for a short one, and bytes are those of what is stored", async () => {
  for (const [window, kv, rowBytes] of [
    [64, "f32", 4 * 32],
    [600, "q8", 32 + 4],
  ] as const) {
    const core = await loadCore("kakeya-tiny", { kv: "auto", window });
    expect(core.info).toMatchObject({ kv, exact: true });
    expect(core.info.kvBytesPerToken).toBe(2 * 6 * 2 * rowBytes);
    const sequence = await core.create();
    await core.append(sequence, new Uint32Array(30).fill(5));
    const state = await core.state(sequence);
    expect(state).toMatchObject({ minRows: 30, maxRows: 30, liveBytes: 30 * core.info.kvBytesPerToken });
    await core.corrupt(sequence);
    expect(await core.state(sequence)).toMatchObject({ minRows: 29, maxRows: 30 });
    await core.close();
  }
});

test("heads that have no whole number of words are refused 8 bits, and auto takes floats for them", async () => {
  using scratch = scratchDir();
  const model = join(scratch.path, "odd-heads");
  writeRandomCheckpoint(model, { config: { ...presets["llama-multi-head"], head_dim: 18 }, seed: 3 });
  const options = { model, quantization: "f32", sink: 4, window: 600, capacity: 1, threads: 1 } as const;
  const error = await rejection(loadBackend({ ...options, kv: "q8" }, () => {}));
  expect(error.message).toContain("takes heads of a multiple of 4 numbers, and the model's have 18: use --kv f32");
  const { backend, info } = await loadBackend({ ...options, kv: "auto" }, () => {});
  expect(info.kv).toBe("f32");
  await backend.close();
});
