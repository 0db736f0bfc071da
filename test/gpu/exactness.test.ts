import { test } from "bun:test";
import { testExactness } from "../engine/exactness.ts";
import { asked, onGpu } from "./device.ts";

// A short history: three blocks, the second of which is evicted by the third.
const short = { device: "gpu", tokens: 60, window: 13, longest: 20, onlyGuessed: true } as const;
const stored = [
  ["f32", "f32"],
  ["q8", "f32"],
  ["q4", "f32"],
] as const;

if (asked) testExactness("qwen3-tied", { ...short, stored });
else test.skip(`${onGpu}: random plans give the bits of one token at a time`, () => {});
