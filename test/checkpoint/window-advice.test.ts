import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { readWindowAdvice, windowWarning } from "../../src/checkpoint/window-advice.ts";
import { scratchDir } from "../scratch.ts";

function withConfig<T>(config: Record<string, unknown>, use: (dir: string) => T): T {
  using scratch = scratchDir();
  writeFileSync(join(scratch.path, "config.json"), JSON.stringify(config));
  return use(scratch.path);
}

const tiny = join(import.meta.dir, "../../models/kakeya-tiny");

describe("The window that suits a model", () => {
  test("is the embedded model's own 64, and it was trained on 16 to 256", () => {
    expect(readWindowAdvice(tiny)).toEqual({ default: 64, least: 16, most: 256 });
  });

  test("is 1,024 for a model that says nothing of itself, or its whole context where that is shorter", () => {
    expect(withConfig({}, readWindowAdvice).default).toBe(1024);
    expect(withConfig({ max_position_embeddings: 40_960 }, readWindowAdvice).default).toBe(1024);
    expect(withConfig({ max_position_embeddings: 512 }, readWindowAdvice).default).toBe(512);
  });

  test("is refused, with its name, where it is no number of tokens", () => {
    expect(() => withConfig({ kakeya: { default_window: -1 } }, readWindowAdvice)).toThrow(
      /config\.json: kakeya\.default_window is -1, not a positive integer/,
    );
  });
});

test.each([
  [15, /16 to 256 tokens: .* Take --window 16$/],
  [257, /16 to 256 tokens: .* Take --window 256$/],
])("A window of %i is outside of what kakeya-tiny was trained on", (window, warning) => {
  expect(windowWarning(tiny, window)).toMatch(warning);
});

test.each([16, 64, 256])("A window of %i is within it", (window) => {
  expect(windowWarning(tiny, window)).toBeUndefined();
});

test("A model without a word on windows is good for its context", () => {
  const context = { max_position_embeddings: 4096 };
  expect(withConfig(context, (dir) => windowWarning(dir, 4096))).toBeUndefined();
  expect(withConfig(context, (dir) => windowWarning(dir, 4097))).toMatch(/at most 4096 tokens/);
  expect(withConfig({}, (dir) => windowWarning(dir, 1_048_576))).toBeUndefined();
});
