import { expect, test } from "bun:test";
import { Tokenizer } from "@huggingface/tokenizers";
import fc from "fast-check";
import { refuseGrowingText } from "../../src/text/text-growth.ts";
import { testSeed } from "../seed.ts";
import { sentencePieceTokenizer } from "./sentencepiece.ts";

const literal = fc.constantFrom("", "a", "b", "ab", " ", "aab");
const regex = fc.constantFrom("a", "a*", "b+", "a?", "(?=a)", "(?<=b)", "\\b", "a|", "()", "a{0,2}", "^", "$", "[^a]");
const content = fc.constantFrom("", "a", "b", "ab", "abab", "$$", "aaa", "b ");
const rule = fc.record({
  type: fc.constant("Replace"),
  pattern: fc.oneof(fc.record({ String: literal }), fc.record({ Regex: regex })),
  content,
});
/** What doubles a text at most: fourteen of them make 16,384 times as much. */
const single = fc.record({
  type: fc.constant("Replace"),
  pattern: fc.record({ Regex: fc.constantFrom("", "(?=a)", "()") }),
  content: fc.constant("a"),
});

test(`Whatever rules are accepted, they don't make a text longer than the limit (seed ${testSeed})`, () => {
  let accepted = 0;
  fc.assert(
    fc.property(
      fc.oneof(fc.array(rule, { maxLength: 14 }), fc.array(single, { maxLength: 14, size: "max" })),
      fc.string({ unit: fc.constantFrom("a", "b", " "), maxLength: 12 }),
      (normalizers, text) => {
        const json = { ...sentencePieceTokenizer(), normalizer: { type: "Sequence", normalizers } };
        try {
          refuseGrowingText("tokenizer.json", json);
        } catch {
          return;
        }
        accepted++;
        const normalize = new Tokenizer(json, {}).normalizer;
        // What matches nothing matches once more than there are characters.
        expect(normalize?.(text).length ?? 0).toBeLessThanOrEqual(2048 * (text.length + 1));
      },
    ),
    { seed: testSeed, numRuns: 2000 },
  );
  expect(accepted).toBeGreaterThan(100);
});
