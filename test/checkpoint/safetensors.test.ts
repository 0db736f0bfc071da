import { describe, expect, test } from "bun:test";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoint/safetensors.ts";
import { scratchDir } from "../scratch.ts";
import { float32Tensor, writeSafetensors } from "./safetensors-file.ts";

const counting = (n: number, from = 0) => Array.from({ length: n }, (_, i) => from + i);

function floats(checkpoint: Checkpoint, name: string, first: number, count: number): number[] {
  const out = new Float32Array(count);
  checkpoint.readFloats(name, first, out);
  return [...out];
}

/** Three shards: a, b; c; d. Their values count on from 0. */
function writeShards(dir: string): void {
  writeSafetensors(join(dir, "one.safetensors"), {
    a: float32Tensor([3], counting(3)),
    b: float32Tensor([2, 2], counting(4, 3)),
  });
  writeSafetensors(join(dir, "two.safetensors"), { c: float32Tensor([5], counting(5, 7)) });
  writeIndex(dir, { a: "one.safetensors", b: "one.safetensors", c: "two.safetensors" });
}

function writeIndex(dir: string, weightMap: unknown): void {
  writeFileSync(join(dir, "model.safetensors.index.json"), JSON.stringify({ metadata: {}, weight_map: weightMap }));
}

describe("A checkpoint", () => {
  test("of one file gives the bf16 weights of the golden model", () => {
    const checkpoint = openCheckpoint(join(import.meta.dir, "../golden/qwen3-tied"));
    expect(checkpoint.tensors.get("model.embed_tokens.weight")).toMatchObject({ dtype: "BF16", shape: [320, 64] });
    expect(floats(checkpoint, "model.embed_tokens.weight", 0, 4)).toEqual([
      -0.72265625, -0.80078125, 1.0859375, -0.86328125,
    ]);
    checkpoint.close();
  });

  test("of several shards is read as one", () => {
    using scratch = scratchDir();
    writeShards(scratch.path);
    const checkpoint = openCheckpoint(scratch.path);
    expect(checkpoint.files).toEqual(["one.safetensors", "two.safetensors"].map((name) => join(scratch.path, name)));
    expect(
      ["a", "b", "c"].flatMap((name) => floats(checkpoint, name, 0, checkpoint.tensors.get(name)?.elements ?? 0)),
    ).toEqual(counting(12));
    checkpoint.close();
  });

  test("is read in any range, across the pieces it is read in, and the bytes seen are the file's", () => {
    using scratch = scratchDir();
    const elements = 700_000; // Three pieces of a megabyte.
    const values = Float32Array.from({ length: elements }, (_, i) => Math.fround(i * 0.37 - 1000));
    const offTheGrid = { dtype: "U8", shape: [3], bytes: new Uint8Array(3) };
    writeSafetensors(join(scratch.path, "model.safetensors"), { offTheGrid, w: float32Tensor([elements], values) });
    const checkpoint = openCheckpoint(scratch.path);
    const whole = new Float32Array(elements);
    checkpoint.readFloats("w", 0, whole);
    expect(whole).toEqual(values);
    fc.assert(
      fc.property(fc.nat(elements - 1), fc.nat(300_000), (first, count) => {
        const out = new Float32Array(Math.min(count, elements - first));
        checkpoint.readFloats("w", first, out);
        expect(out).toEqual(values.subarray(first, first + out.length));
      }),
      { numRuns: 50 },
    );
    expect(() => checkpoint.readFloats("w", elements - 1, new Float32Array(2))).toThrow("w has 700000 elements");
    checkpoint.close();
  });
});

describe("A checkpoint is refused, by file, reason and remedy, when", () => {
  test("there are no weights", () => {
    using scratch = scratchDir();
    expect(() => openCheckpoint(scratch.path)).toThrow(/model\.safetensors: is missing, .* Download the weights/);
    writeFileSync(join(scratch.path, "pytorch_model.bin"), "");
    expect(() => openCheckpoint(scratch.path)).toThrow(
      /the weights are in pytorch_model\.bin\. Use a checkpoint saved as safetensors/,
    );
  });

  test("a shard is missing", () => {
    using scratch = scratchDir();
    writeShards(scratch.path);
    rmSync(join(scratch.path, "two.safetensors"));
    expect(() => openCheckpoint(scratch.path)).toThrow(
      /two\.safetensors: is missing, and model\.safetensors\.index\.json names it\. Download this shard/,
    );
  });

  test("a shard lacks what the index says it holds", () => {
    using scratch = scratchDir();
    writeShards(scratch.path);
    writeIndex(scratch.path, { a: "two.safetensors" });
    expect(() => openCheckpoint(scratch.path)).toThrow(/two\.safetensors: lacks tensor a/);
  });

  test.each([["../secret.safetensors"], ["/etc/passwd"], ["weights.bin"], [7]])("the index points to %p", (shard) => {
    using scratch = scratchDir();
    writeIndex(scratch.path, { a: shard });
    expect(() => openCheckpoint(scratch.path)).toThrow(/weight_map\.a is .*, not a file beside it/);
  });

  test("the index has no weight_map", () => {
    using scratch = scratchDir();
    writeIndex(scratch.path, undefined);
    expect(() => openCheckpoint(scratch.path)).toThrow(/index\.json: has no weight_map/);
  });

  test("a tensor is missing, of another shape, or in a format without weights", () => {
    using scratch = scratchDir();
    const int8 = { dtype: "I8", shape: [2, 2], bytes: new Uint8Array(4) };
    writeSafetensors(join(scratch.path, "model.safetensors"), { q: int8, w: float32Tensor([2, 3], counting(6)) });
    const checkpoint = openCheckpoint(scratch.path);
    expect(checkpoint.require("w", [2, 3]).elements).toBe(6);
    expect(() => checkpoint.require("w", [3, 2])).toThrow(
      /tensor w has the shape \[2, 3\], but config\.json asks for \[3, 2\]/,
    );
    expect(() => checkpoint.require("w", [2, 3, 1])).toThrow(/asks for \[2, 3, 1\]/);
    expect(() => checkpoint.require("q", [2, 2])).toThrow(
      /tensor q is I8\. Use the original checkpoint in BF16, F16 or F32/,
    );
    expect(() => checkpoint.require("v", [1])).toThrow(
      /tensor v is in none of the weight files \(they hold 1 tensors: w, /,
    );
    expect(() => checkpoint.readFloats("v", 0, new Float32Array(1))).toThrow(/tensor v is in none/);
    checkpoint.close();
  });

  test("a file shrinks while it is read", () => {
    using scratch = scratchDir();
    const file = join(scratch.path, "model.safetensors");
    writeSafetensors(file, { w: float32Tensor([600_000], counting(600_000)) });
    const checkpoint = openCheckpoint(scratch.path);
    writeFileSync(file, "short");
    expect(() => floats(checkpoint, "w", 0, 600_000)).toThrow(/ended at byte \d+ while it was read/);
    checkpoint.close();
  });
});

test("a checkpoint is read from the files that were there when it was opened, whatever takes their names", () => {
  using scratch = scratchDir();
  const file = join(scratch.path, "model.safetensors");
  const write = (path: string, value: number) => writeSafetensors(path, { w: float32Tensor([2], [value, value]) });
  write(file, 1);
  const checkpoint = openCheckpoint(scratch.path);
  write(`${file}.new`, 2);
  renameSync(`${file}.new`, file);
  expect(floats(checkpoint, "w", 0, 2)).toEqual([1, 1]);
  expect(checkpoint.changedFile()).toBeUndefined();
  checkpoint.close();
});
