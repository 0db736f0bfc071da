import { describe, expect, test } from "bun:test";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { ModelError } from "../../src/checkpoint/model-error.ts";
import { parseHeader, readHeader } from "../../src/checkpoint/safetensors-header.ts";
import { scratchDir } from "../scratch.ts";
import { float32Tensor, headerLength, writeSafetensors } from "./safetensors-file.ts";

const two = { a: float32Tensor([2, 3], [1, 2, 3, 4, 5, 6]), b: float32Tensor([1], [7]) };

describe("A safetensors header", () => {
  test("gives each tensor's place in the file, whatever their order in the JSON", () => {
    using scratch = scratchDir();
    const file = join(scratch.path, "x.safetensors");
    writeSafetensors(file, two, (header) => {
      const { a } = header;
      delete header.a;
      header.a = a;
      header.__metadata__ = { format: "pt" };
    });
    const tensors = readHeader(file);
    const data = tensors.get("a")?.offset ?? 0;
    expect(tensors.get("a")).toEqual({ dtype: "F32", shape: [2, 3], offset: data, elements: 6 });
    expect(tensors.get("b")).toEqual({ dtype: "F32", shape: [1], offset: data + 24, elements: 1 });
    expect(tensors.size).toBe(2);
  });

  test("may hold scalars and empty tensors", () => {
    using scratch = scratchDir();
    const file = join(scratch.path, "x.safetensors");
    writeSafetensors(file, { empty: float32Tensor([0, 4], []), scalar: float32Tensor([], [1]) });
    expect(readHeader(file).get("empty")?.elements).toBe(0);
    expect(readHeader(file).get("scalar")?.elements).toBe(1);
  });
});

describe("A safetensors file is refused, by name and reason, when", () => {
  const damage: [string, (file: string) => void, RegExp][] = [
    [
      "its header takes 2^60 bytes",
      (file) => writeFileSync(file, headerLength(2n ** 60n)),
      /says its header takes 1152921504606846976 bytes, but the file has 8/,
    ],
    [
      "its header takes 2^64 - 1 bytes",
      (file) => writeFileSync(file, headerLength(2n ** 64n - 1n)),
      /says its header takes 18446744073709551615 bytes/,
    ],
    ["it is shorter than the header's length", (file) => writeFileSync(file, "abc"), /is 3 bytes long, too short/],
    ["it is empty", (file) => writeFileSync(file, ""), /is 0 bytes long/],
    [
      "it is a Git LFS pointer",
      (file) => writeFileSync(file, "version https://git-lfs.github.com/spec/v1\n"),
      /is a Git LFS pointer.*git lfs pull/,
    ],
    [
      "its data are cut off",
      (file) => truncateSync(file, 125),
      /is truncated: its header describes 28 bytes of data, but there are \d+/,
    ],
    [
      "bytes follow its data",
      (file) => writeFileSync(file, "more", { flag: "a" }),
      /is too long: its header describes 28 bytes of data, but there are 32/,
    ],
    ["its header is cut off", (file) => truncateSync(file, 60), /says its header takes \d+ bytes, but the file has 60/],
  ];
  test.each(damage)("%s", (_, spoil, message) => {
    using scratch = scratchDir();
    const file = join(scratch.path, "x.safetensors");
    writeSafetensors(file, two);
    spoil(file);
    expect(() => readHeader(file)).toThrow(message);
    expect(() => readHeader(file)).toThrow(file);
  });

  const lies: [string, unknown, RegExp][] = [
    [
      "a tensor overlaps another",
      { dtype: "F32", shape: [1], data_offsets: [20, 24] },
      /tensor b starts at byte 20 .* overlaps .* 24/,
    ],
    [
      "a tensor leaves a gap",
      { dtype: "F32", shape: [1], data_offsets: [28, 32] },
      /tensor b starts at byte 28 .* gap .* 24/,
    ],
    [
      "a tensor's offsets run backwards",
      { dtype: "F32", shape: [1], data_offsets: [28, 24] },
      /F32 of shape \[1\] takes 4 bytes, but data_offsets give -4/,
    ],
    [
      "a tensor's shape does not fit its bytes",
      { dtype: "F32", shape: [9], data_offsets: [24, 28] },
      /F32 of shape \[9\] takes 36 bytes, but data_offsets give 4/,
    ],
    [
      "a tensor's shape is beyond all bounds",
      { dtype: "F32", shape: [2 ** 40, 2 ** 40], data_offsets: [24, 28] },
      /takes .* bytes, but data_offsets give 4/,
    ],
    [
      "a tensor's dtype is unknown",
      { dtype: "F4", shape: [1], data_offsets: [24, 28] },
      /tensor b: unknown dtype "F4"/,
    ],
    [
      "a tensor's dtype is a property of every object",
      { dtype: "constructor", shape: [1], data_offsets: [24, 28] },
      /unknown dtype "constructor"/,
    ],
    [
      "a shape is negative",
      { dtype: "F32", shape: [-1], data_offsets: [24, 28] },
      /shape \[-1\] is not a list of sizes/,
    ],
    ["offsets are missing", { dtype: "F32", shape: [1] }, /data_offsets undefined are not a pair/],
    ["an entry is no object", 7, /tensor b: is not described by an object/],
  ];
  test.each(lies)("%s", (_, entry, message) => {
    using scratch = scratchDir();
    const file = join(scratch.path, "x.safetensors");
    writeSafetensors(file, two, (header) => {
      header.b = entry;
    });
    expect(() => readHeader(file)).toThrow(message);
  });

  test("it is not there", () => {
    expect(() => readHeader("/nowhere/x.safetensors")).toThrow(/\/nowhere\/x\.safetensors: can't be opened: .*ENOENT/);
  });
});

describe("Whatever bytes stand in the header", () => {
  const tensor = fc.record({
    dtype: fc.oneof(fc.constantFrom("F32", "BF16", "I8"), fc.string()),
    shape: fc.oneof(fc.array(fc.nat(8), { maxLength: 3 }), fc.anything()),
    data_offsets: fc.oneof(fc.tuple(fc.nat(64), fc.nat(64)), fc.anything()),
  });
  const json = fc.oneof(
    fc.json(),
    fc.dictionary(fc.string(), fc.oneof(tensor, fc.anything())).map((value) => JSON.stringify(value)),
  );
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    json.map((text) => new TextEncoder().encode(text)),
  );

  test("it is read or refused with a ModelError, and what is read lies inside the file", () => {
    fc.assert(
      fc.property(bytes, fc.nat(300), (header, dataBytes) => {
        const fileBytes = 8 + header.length + dataBytes;
        try {
          for (const { offset, elements, shape } of parseHeader("x", header, fileBytes).values()) {
            expect(offset).toBeGreaterThanOrEqual(8 + header.length);
            expect(offset + elements).toBeLessThanOrEqual(fileBytes);
            expect(shape.reduce((a, b) => a * b, 1)).toBe(elements);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(ModelError);
        }
      }),
      { numRuns: 3000 },
    );
  });

  test("a valid file with any one bit flipped is read or refused with a ModelError", () => {
    using scratch = scratchDir();
    const file = join(scratch.path, "x.safetensors");
    writeSafetensors(file, two);
    const valid = readFileSync(file);
    fc.assert(
      fc.property(fc.nat(valid.length - 1), fc.nat(7), (at, bit) => {
        const flipped = Uint8Array.from(valid);
        flipped[at] = (flipped[at] ?? 0) ^ (1 << bit);
        writeFileSync(file, flipped);
        try {
          readHeader(file);
        } catch (error) {
          expect(error).toBeInstanceOf(ModelError);
        }
      }),
      { numRuns: 500 },
    );
  });
});
