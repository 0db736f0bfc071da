import { expect, test } from "bun:test";
import fc from "fast-check";
import { rotateKeys, rotationBy, writeAngles } from "../../src/kv/rotary.ts";

const frequencies = Float64Array.from({ length: 16 }, (_, i) => 1e4 ** (-i / 16));
const keys = fc
  .array(fc.float({ min: -4, max: 4, noNaN: true }), { minLength: 64, maxLength: 64 })
  .map((a) => Float32Array.from(a));

test("angles at position 10,000,000 are as exact as at position 10", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 10_000_000 }), (position) => {
      const cos = new Float32Array(32);
      const sin = new Float32Array(32);
      writeAngles(cos, sin, 1, position, frequencies);
      frequencies.forEach((f, i) => {
        expect(cos[16 + i]).toBe(Math.fround(Math.cos(position * f)));
        expect(sin[16 + i]).toBe(Math.fround(Math.sin(position * f)));
      });
      expect(cos.subarray(0, 16).every((x) => x === 0)).toBe(true);
    }),
  );
});

test("turning keys keeps the length of each pair and depends on the distance alone", () => {
  fc.assert(
    fc.property(keys, fc.integer({ min: 1, max: 1_000_000 }), (from, distance) => {
      const to = new Float32Array(from.length);
      rotateKeys(to, from, rotationBy(distance, frequencies));
      for (let at = 0; at < from.length; at += 32) {
        for (let i = 0; i < 16; i++) {
          const [a, b] = [from[at + i] ?? 0, from[at + 16 + i] ?? 0];
          const angle = distance * (frequencies[i] ?? 0);
          expect(to[at + i]).toBe(Math.fround(a * Math.cos(angle) - b * Math.sin(angle)));
          expect(to[at + 16 + i]).toBe(Math.fround(a * Math.sin(angle) + b * Math.cos(angle)));
        }
      }
    }),
  );
});

test("a distance of 0 leaves the keys' bits as they are", () => {
  fc.assert(
    fc.property(keys, (from) => {
      const to = new Float32Array(from.length);
      rotateKeys(to, from, rotationBy(0, frequencies));
      expect(new Uint8Array(to.buffer)).toEqual(new Uint8Array(from.buffer));
    }),
  );
});
