import { describe, expect, test } from "bun:test";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { openCheckpoint } from "../../src/checkpoint/safetensors.ts";
import { blockFormats, type Planned, type PlannedTensor } from "../../src/graph/plan.ts";
import { quantizeRows } from "../../src/graph/quantize.ts";
import { readVectors, transpose, writeEntry } from "../../src/graph/weight-file.ts";
import { randomValues } from "../../tools/random-values.ts";
import { float32Tensor, writeSafetensors } from "../checkpoint/safetensors-file.ts";
import { scratchDir } from "../scratch.ts";

const place = (name: string, dtype: "uint8" | "float32", shape: number[], offset: number): PlannedTensor => {
  return { name, dtype, shape, offset, bytes: shape.reduce((a, b) => a * b, dtype === "uint8" ? 1 : 4) };
};

/** Writes one entry of a plan from these tensors and answers with the file. */
function written(tensors: Record<string, { shape: number[]; values: Float32Array }>, entry: Planned): Buffer {
  using scratch = scratchDir();
  const fileTensors = Object.entries(tensors).map(([name, { shape, values }]) => [name, float32Tensor(shape, values)]);
  writeSafetensors(join(scratch.path, "model.safetensors"), Object.fromEntries(fileTensors));
  const checkpoint = openCheckpoint(scratch.path);
  const file = join(scratch.path, "weights.bin");
  const fd = openSync(file, "w");
  try {
    writeEntry(entry, checkpoint, fd, () => {});
  } finally {
    closeSync(fd);
    checkpoint.close();
  }
  return readFileSync(file);
}

function randomMatrix(rows: number, k: number, seed: number): { shape: number[]; values: Float32Array } {
  return { shape: [rows, k], values: randomValues(seed, 0, 1)(rows * k) };
}

const float32At = (file: Buffer, offset: number, count: number): Float32Array =>
  new Float32Array(file.buffer.slice(file.byteOffset + offset, file.byteOffset + offset + 4 * count));

function stacked(a: { values: Float32Array }, b: { values: Float32Array }): Float32Array {
  const all = new Float32Array(a.values.length + b.values.length);
  all.set(a.values);
  all.set(b.values, a.values.length);
  return all;
}

describe("The weight file", () => {
  test.each(Object.values(blockFormats))(
    "holds stacked matrices of several chunks as quantized at once: %o",
    (format) => {
      const { bits, blockSize } = format;
      const [n, k] = [1500, 1024];
      const [a, b] = [randomMatrix(1100, k, 1), randomMatrix(400, k, 2)];
      const packed = place("packed", "uint8", [n, k / blockSize, (blockSize * bits) / 8], 4096);
      const scales = place("scales", "float32", [(n * k) / blockSize], 4096 + packed.bytes);
      const file = written({ a, b }, { form: "quantized", sources: ["a", "b"], n, k, format, packed, scales });
      const expected = quantizeRows(stacked(a, b), k, format);
      expect(file.subarray(4096, 4096 + packed.bytes).equals(expected.packed)).toBe(true);
      expect(float32At(file, scales.offset, expected.scales.length)).toEqual(expected.scales);
    },
  );

  test("holds a transposed stack that is larger than what is held in memory", () => {
    const [n, k] = [9000, 1024];
    const [a, b] = [randomMatrix(8500, k, 1), randomMatrix(500, k, 2)];
    const tensor = place("w", "float32", [k, n], 4096);
    const file = written({ a, b }, { form: "transposed", sources: ["a", "b"], n, k, tensor });
    const actual = float32At(file, 4096, n * k);
    const rows = stacked(a, b);
    let wrong = 0;
    for (let row = 0; row < n; row++) {
      for (let column = 0; column < k; column++) if (actual[column * n + row] !== rows[row * k + column]) wrong++;
    }
    expect(wrong).toBe(0);
  });

  test("is not written by a plan that its sources don't fill", () => {
    const a = randomMatrix(2, 32, 1);
    const tensor = place("t", "float32", [32, 3], 0);
    expect(() => written({ a }, { form: "transposed", sources: ["a"], n: 3, k: 32, tensor })).toThrow(
      "stacks a to 3 rows, but they have 2",
    );
  });
});

test("Vectors are read one after the other, and one that is no number is refused by name", () => {
  using scratch = scratchDir();
  const vectors = { a: [1, 2], b: [3, 4, 5], c: [1, Number.NaN] };
  const tensors = Object.entries(vectors).map(([name, values]) => [name, float32Tensor([values.length], values)]);
  writeSafetensors(join(scratch.path, "model.safetensors"), Object.fromEntries(tensors));
  const checkpoint = openCheckpoint(scratch.path);
  expect([...readVectors(checkpoint, ["b", "a"])]).toEqual([3, 4, 5, 1, 2]);
  expect(() => readVectors(checkpoint, ["a", "c"])).toThrow(/model\.safetensors: tensor c holds infinities or NaNs/);
  checkpoint.close();
});

test("Transposing twice changes nothing, and each element goes to its place", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 80 }), fc.integer({ min: 1, max: 80 }), (rows, k) => {
      const values = Float32Array.from({ length: rows * k }, (_, i) => i);
      const once = transpose(values, rows, k);
      expect(once[(k - 1) * rows]).toBe(k - 1);
      expect(transpose(once, k, rows)).toEqual(values);
    }),
  );
});
