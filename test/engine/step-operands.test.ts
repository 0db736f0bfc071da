import { expect, test } from "bun:test";
import { readConfig } from "../../src/checkpoint/config.ts";
import { StepMemory, StepOperands } from "../../src/engine/step-operands.ts";
import { geometry } from "../../src/kv/geometry.ts";
import { modelDir } from "./models.ts";

const config = readConfig(modelDir("kakeya-tiny"));
const slab = geometry(4, 64);

test("steps of all sizes put their new rows into one memory", () => {
  const memory = new StepMemory(config, slab, "f32", 32);
  for (const [n, tokens] of [
    [1, 1],
    [1, 7],
    [1, 32],
    [4, 1],
  ] as const) {
    const { rows } = new StepOperands(config, slab, memory, n, tokens);
    for (const part of ["keys", "values"] as const) {
      for (const [layer, view] of rows[part].entries()) {
        const place = memory[part][layer];
        if (!(view instanceof Float32Array) || !(place instanceof Float32Array))
          throw new Error("rows are floats here");
        expect(view.buffer).toBe(place.buffer as ArrayBuffer);
        expect(view).toHaveLength(n * config.kvHeads * tokens * config.headDim);
      }
    }
  }
});

test("a step that is too large for the memory is refused", () => {
  expect(() => new StepOperands(config, slab, new StepMemory(config, slab, "f32", 8), 1, 9)).toThrow();
});
