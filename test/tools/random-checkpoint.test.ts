import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { readConfig } from "../../src/checkpoint/config.ts";
import { openCheckpoint } from "../../src/checkpoint/safetensors.ts";
import { checkpointShapes } from "../../src/checkpoint/weight-shapes.ts";
import { presets, writeRandomCheckpoint } from "../../tools/random-checkpoint.ts";
import { float16Bits, randomValues } from "../../tools/random-values.ts";
import { scratchDir } from "../scratch.ts";

const config = presets["llama-multi-head"] ?? {};

function values(dir: string, name: string): Float32Array {
  const checkpoint = openCheckpoint(dir);
  const out = new Float32Array(checkpoint.tensors.get(name)?.elements ?? 0);
  checkpoint.readFloats(name, 0, out);
  checkpoint.close();
  return out;
}

describe("A random checkpoint", () => {
  test("has every tensor of its configuration, in the shapes of transformers", () => {
    using scratch = scratchDir();
    writeRandomCheckpoint(scratch.path, { config, seed: 1 });
    const checkpoint = openCheckpoint(scratch.path);
    const shapes = checkpointShapes(readConfig(scratch.path));
    expect(checkpoint.tensors.size).toBe(shapes.size);
    for (const [name, shape] of shapes) checkpoint.require(name, shape);
    checkpoint.close();
  });

  test("is the same for the same seed, in one file or several, and another for another seed", () => {
    using scratch = scratchDir();
    const dirs = ["a", "b", "c", "d"].map((name) => join(scratch.path, name));
    [{ seed: 1 }, { seed: 1 }, { seed: 1, shards: 4 }, { seed: 2 }].forEach((options, i) => {
      writeRandomCheckpoint(dirs[i] ?? "", { config, ...options });
    });
    const [a = "", b = "", c = "", d = ""] = dirs;
    const file = (dir: string) => readFileSync(join(dir, "model.safetensors"));
    expect(file(a).equals(file(b))).toBe(true);
    expect(file(a).equals(file(d))).toBe(false);
    expect(readdirSync(c).filter((name) => name.endsWith(".safetensors")).length).toBe(4);
    for (const name of ["lm_head.weight", "model.norm.weight"]) expect(values(c, name)).toEqual(values(a, name));
    const sizes = readdirSync(c)
      .filter((name) => name.endsWith(".safetensors"))
      .map((name) => statSync(join(c, name)).size);
    expect(Math.max(...sizes)).toBeLessThan(0.6 * file(a).length);
  });

  test("holds about the same numbers in every format", () => {
    using scratch = scratchDir();
    const [f32 = new Float32Array(), ...rounded] = (["F32", "BF16", "F16"] as const).map((dtype) => {
      const dir = join(scratch.path, dtype);
      writeRandomCheckpoint(dir, { config, seed: 1, dtype });
      return values(dir, "model.layers.1.mlp.up_proj.weight");
    });
    for (const list of rounded) {
      const apart = list.map((value, i) => Math.abs(value - (f32[i] ?? 0)) - 0.01 * Math.abs(f32[i] ?? 0));
      expect(Math.max(...apart)).toBeLessThan(2 ** -14);
    }
  });

  test("is written from the command line too", () => {
    using scratch = scratchDir();
    const tool = join(import.meta.dir, "../../tools/random-checkpoint.ts");
    const run = (...args: string[]) => Bun.spawnSync([process.execPath, tool, ...args]);
    const configFile = join(import.meta.dir, "../golden/qwen2-bias/config.json");
    expect(run("--config", configFile, "--shards", "2", "--dtype", "F16", scratch.path).exitCode).toBe(0);
    expect(openCheckpoint(scratch.path).tensors.get("model.norm.weight")?.dtype).toBe("F16");
    expect(run("--preset", "none", scratch.path).stderr.toString()).toContain("usage:");
    expect(run("--preset", "qwen3-0.6b", "--dtype", "I8", scratch.path).stderr.toString()).toContain(
      "--dtype I8 is not",
    );
  });
});

test("Random values have the mean and deviation asked for", () => {
  const list = randomValues(5, 2, 3)(100_000);
  const mean = list.reduce((a, b) => a + b) / list.length;
  const variance = list.reduce((sum, value) => sum + (value - mean) ** 2, 0) / list.length;
  expect(mean).toBeCloseTo(2, 1);
  expect(Math.sqrt(variance)).toBeCloseTo(3, 1);
});

test("Halves are those of Float16Array, below whose normal numbers they are 0", () => {
  for (const value of [1, -1, 0.1, 1.9999, 3.1, -65504, 2 ** -14]) {
    expect(float16Bits(value)).toBe(new Uint16Array(Float16Array.of(value).buffer)[0] ?? -1);
  }
  expect(float16Bits(-1e-6)).toBe(0x8000);
});
