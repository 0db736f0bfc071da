import { expect, test } from "bun:test";
import fc from "fast-check";
import { toFloat32 } from "../../src/checkpoint/float-conversion.ts";

const every16Bits = Uint16Array.from({ length: 1 << 16 }, (_, i) => i);

test("Every IEEE half becomes the float32 of the same value", () => {
  const out = new Float32Array(1 << 16);
  toFloat32("F16", new Uint8Array(every16Bits.buffer), out);
  const expected = new Float16Array(every16Bits.buffer);
  expect(out.findIndex((value, i) => !Object.is(value, expected[i]))).toBe(-1);
});

test("Every bfloat16 becomes the float32 with the same upper half", () => {
  const out = new Float32Array(1 << 16);
  toFloat32("BF16", new Uint8Array(every16Bits.buffer), out);
  const words = new Uint32Array(out.buffer);
  expect(words.every((word, i) => word === (i << 16) >>> 0)).toBe(true);
});

test("float32 passes as it is", () => {
  fc.assert(
    fc.property(fc.float32Array(), (values) => {
      const out = new Float32Array(values.length);
      toFloat32("F32", new Uint8Array(values.buffer, values.byteOffset, values.byteLength), out);
      // Element by element: a NaN is a NaN, whatever its payload.
      expect(out.every((value, i) => Object.is(value, values[i]))).toBe(true);
    }),
  );
});
