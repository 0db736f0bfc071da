import { expect, test } from "bun:test";
import { instructionSets } from "../../src/engine/instruction-sets.ts";

const arch = process.arch;

test("what decides over kernels is named, and nothing else", () => {
  expect(instructionSets("processor : 0\nflags\t\t: fpu sse4_2 avx2 fma avx512f xsave\n")).toBe(
    `${arch} avx2 fma avx512f`,
  );
  expect(instructionSets("Features\t: fp asimd asimddp i8mm\n")).toBe(`${arch} asimddp i8mm`);
  expect(instructionSets("flags : fpu\n")).toBe(arch);
});

test("where the system lists nothing, the processor's name stands for it", () => {
  expect(instructionSets("nothing of the kind").length).toBeGreaterThan(arch.length);
  expect(instructionSets()).toStartWith(arch);
});
