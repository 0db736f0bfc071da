import { expect, test } from "bun:test";
import fc from "fast-check";
import { requireMemory } from "../../src/engine/memory-need.ts";

const gib = 2 ** 30;
const need = { quantization: "f32", weights: gib / 4, sessionBytes: gib, capacity: 10 } as const;
const machine = (total: number, available = total) => ({ totalBytes: total * gib, availableBytes: available * gib });

test("What fits is not worth a word", () => {
  expect(requireMemory(need, machine(12))).toBeUndefined();
});

test("What never fits is refused: how much is needed, how much there is, and what to lower to which value", () => {
  expect(() => requireMemory(need, machine(8))).toThrow(
    /^11\.1 GiB of memory are needed \(1\.14 GiB for the model in f32, 10 x 1 GiB for sessions\), and there are 8 GiB: lower --capacity to 6 at most, or --window$/,
  );
  expect(() => requireMemory(need, machine(1.5))).toThrow(/: lower --window$/);
  expect(() => requireMemory(need, machine(1))).toThrow(/: take --quant q4 or a smaller model$/);
  expect(() => requireMemory({ ...need, quantization: "q4", weights: 2 * gib }, machine(1))).toThrow(
    /: take a smaller model$/,
  );
});

test("What others leave no room for now is warned of", () => {
  expect(requireMemory(need, machine(64, 4))).toMatch(
    /11\.1 GiB .*, and only 4 GiB of 64 GiB are free now: lower --capacity/,
  );
});

test("Whatever the sizes, the capacity that it names fits", () => {
  const size = fc.integer({ min: 1, max: 2 ** 40 });
  fc.assert(
    fc.property(size, size, fc.integer({ min: 1, max: 65_536 }), (totalBytes, sessionBytes, capacity) => {
      const own = { quantization: "q8", weights: 1e6, sessionBytes, capacity } as const;
      const memory = { totalBytes, availableBytes: totalBytes };
      let named: string | undefined;
      try {
        requireMemory(own, memory);
      } catch (error) {
        named = /--capacity to (\d+)/.exec(String(error))?.[1];
      }
      if (named !== undefined) expect(requireMemory({ ...own, capacity: Number(named) }, memory)).toBeUndefined();
    }),
    { seed: 1 },
  );
});
