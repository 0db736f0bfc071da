import { expect, test } from "bun:test";
import { promptText } from "../../src/bench/template.ts";

test("raw is the message and one line break, whatever came before", () => {
  expect(promptText("raw", "Hi?", "none")).toBe("Hi?\n");
  expect(promptText("raw", "Hi?", "cut")).toBe("Hi?\n");
  expect(promptText("raw", "Hi?\n", "ended")).toBe("Hi?\n");
});

test("chatml closes what the answer before left open", () => {
  const turn = "<|im_start|>user\nHi?<|im_end|>\n<|im_start|>assistant\n";
  expect(promptText("chatml", "Hi?", "none")).toBe(turn);
  expect(promptText("chatml", "Hi?", "ended")).toBe(`\n${turn}`);
  expect(promptText("chatml", "Hi?", "cut")).toBe(`<|im_end|>\n${turn}`);
});
