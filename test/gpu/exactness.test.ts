import { test } from "bun:test";
import { testExactness } from "../engine/exactness.ts";
import { asked, onGpu } from "./device.ts";

// Short histories over several blocks, past the window. Quantized kernels take a processor that plays the GPU seconds.
const short = { device: "gpu", plans: 20, onlyGuessed: true } as const;
const floats = { ...short, stored: [["f32", "f32"]], tokens: 60, window: 13, longest: 20 } as const;
const quantized = {
  ...short,
  stored: [
    ["q8", "f32"],
    ["q4", "f32"],
  ],
  tokens: 44,
  window: 5,
  longest: 9,
} as const;

if (asked) {
  testExactness("qwen3-tied", floats);
  testExactness("qwen3-tied", quantized);
} else test.skip(`${onGpu}: random plans give the bits of one token at a time`, () => {});
