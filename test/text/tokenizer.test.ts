import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { loadTokenizer, type Tokenizer } from "../../src/text/tokenizer.ts";
import { scratchDir } from "../scratch.ts";
import { sentencePieceTokenizer } from "./sentencepiece.ts";

const tinyDir = join(import.meta.dir, "../../models/kakeya-tiny");
const tiny = loadTokenizer(tinyDir, 2048);

interface GoldenTurn {
  question: string;
  prompt_ids: number[];
  generated_ids: number[];
  text: string;
}
const golden: { turns: GoldenTurn[] } = JSON.parse(
  readFileSync(join(import.meta.dir, "../golden/kakeya-tiny.json"), "utf8"),
);

function tokenizerOf(json: unknown, config?: unknown, vocabSize?: number): Tokenizer {
  using scratch = scratchDir();
  writeFileSync(join(scratch.path, "tokenizer.json"), JSON.stringify(json));
  if (config !== undefined) writeFileSync(join(scratch.path, "tokenizer_config.json"), JSON.stringify(config));
  return loadTokenizer(scratch.path, vocabSize);
}

describe("kakeya-tiny's tokenizer", () => {
  test("encodes the golden prompts, ChatML's markers as tokens of their own, and decodes the golden answers", () => {
    for (const { question, prompt_ids, generated_ids, text } of golden.turns) {
      const template = `<|im_start|>user\n${question}<|im_end|>\n<|im_start|>assistant\n`;
      const newline = prompt_ids[0] === 198 ? "\n" : ""; // From the second turn on, the prompt closes the last answer.
      expect([...tiny.encode(newline + template)]).toEqual(prompt_ids);
      expect(tiny.decode(generated_ids)).toBe(text);
    }
  });

  test("knows 2,048 tokens and adds none", () => {
    expect(tiny.vocabSize).toBe(2048);
    expect(tiny.encode("")).toEqual(new Uint32Array());
    expect(tiny.decode([])).toBe("");
  });

  test("gives back any text, and decodes special tokens and unknown ids to nothing", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const ids = tiny.encode(text);
        expect(ids.every((id) => id < 2048)).toBe(true);
        expect(tiny.decode(ids)).toBe(text);
        expect(tiny.decode([2046, ...ids, 2047, 5000])).toBe(text);
      }),
    );
  });
});

describe("A tokenizer in the manner of SentencePiece", () => {
  const tokenizer = tokenizerOf(sentencePieceTokenizer(), { clean_up_tokenization_spaces: true });

  test("adds no <s>, and decodes without the space put before the text", () => {
    const ids = tokenizer.encode("hello world");
    expect(ids.length).toBe(2);
    expect(tokenizer.decode(ids)).toBe("hello world");
  });

  test("keeps spaces before punctuation, whatever its config says about cleaning up", () => {
    expect(tokenizer.decode(tokenizer.encode("hello , world ."))).toBe("hello , world .");
  });

  test("gives back characters it has only bytes for", () => {
    expect(tokenizer.decode(tokenizer.encode("hello 🌍 wörld"))).toBe("hello 🌍 wörld");
  });
});

describe("A tokenizer whose rules make text grow without bounds is refused when it is loaded:", () => {
  const double = { type: "Replace", pattern: { String: "a" }, content: "aa" };
  const forty = Array.from({ length: 40 }, () => double);
  test.each([
    ["forty normalizers that double", "normalizer", { type: "Sequence", normalizers: forty }],
    [
      "in nested sequences",
      "normalizer",
      { type: "Sequence", normalizers: [{ type: "Sequence", normalizers: forty }] },
    ],
    ["before splitting", "pre_tokenizer", { type: "Sequence", pretokenizers: forty }],
    ["when decoding", "decoder", { type: "Sequence", decoders: forty }],
    ["a match of nothing", "normalizer", { type: "Replace", pattern: { Regex: "x*" }, content: "a".repeat(2000) }],
    ["the text around the match", "normalizer", { type: "Replace", pattern: { String: "a" }, content: "$`$'" }],
    ["a long word for a space", "pre_tokenizer", { type: "Metaspace", str_rep: "_".repeat(2000) }],
  ])("%s", (_, stage, rule) => {
    expect(() => tokenizerOf({ ...sentencePieceTokenizer(), [stage]: rule })).toThrow(
      new RegExp(`tokenizer.json: its ${stage} can make a text \\w+ times as long`),
    );
  });
});

describe("A stream of ids", () => {
  const sentencePiece = tokenizerOf(sentencePieceTokenizer());
  const replacement = "\uFFFD";

  function pieces(tokenizer: Tokenizer, ids: Iterable<number>): string[] {
    const decoder = tokenizer.decoder();
    return [...Array.from(ids, (id) => decoder.push(id)), decoder.flush()];
  }

  test.each([
    ["kakeya-tiny's", tiny],
    ["SentencePiece's", sentencePiece],
  ])("of a text in %s tokens comes out as the text, no character in parts", (_, tokenizer) => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        fc.pre(!text.includes(replacement) && !text.includes("▁"));
        const streamed = pieces(tokenizer, tokenizer.encode(text));
        expect(streamed.join("")).toBe(text);
        for (const piece of streamed) {
          expect(piece).not.toContain(replacement);
          expect(piece.isWellFormed()).toBe(true);
        }
      }),
    );
  });

  test.each([
    ["kakeya-tiny's", tiny],
    ["SentencePiece's", sentencePiece],
  ])("of any %s tokens decodes as the whole list does", (_, tokenizer) => {
    const id = fc.integer({ min: 0, max: tokenizer.vocabSize + 3 });
    fc.assert(
      fc.property(fc.array(id, { maxLength: 60 }), (ids) => {
        expect(pieces(tokenizer, ids).join("")).toBe(tokenizer.decode(ids));
      }),
      { numRuns: 500 },
    );
  });

  test("holds an emoji's bytes back until the last, and gives what is broken at the end", () => {
    const ids = [...tiny.encode("🌍")];
    expect(ids.length).toBeGreaterThan(1);
    expect(pieces(tiny, ids)).toEqual([...ids.slice(1).map(() => ""), "🌍", ""]);
    expect(pieces(tiny, ids.slice(0, -1)).join("")).toBe(replacement);
  });

  test("of nothing but beginnings of characters goes on in the end", () => {
    const [first = 0] = tiny.encode("🌍");
    const decoder = tiny.decoder();
    const out = Array.from({ length: 200 }, () => decoder.push(first)).join("") + decoder.flush();
    expect(out).toBe(replacement.repeat(200));
  });

  test("can be begun anew after its end", () => {
    const decoder = sentencePiece.decoder();
    const stream = () =>
      Array.from(sentencePiece.encode("hello world"), (id) => decoder.push(id)).join("") + decoder.flush();
    expect([stream(), stream()]).toEqual(["hello world", "hello world"]);
  });
});

describe("A tokenizer is refused, by file, reason and remedy, when", () => {
  test("it is not there", () => {
    using scratch = scratchDir();
    expect(() => loadTokenizer(scratch.path)).toThrow(/tokenizer\.json: is missing\. Give a directory with/);
  });

  test("it has more tokens than the model, and not when it has fewer", () => {
    expect(() => loadTokenizer(tinyDir, 2047)).toThrow(
      /tokenizer\.json: has token ids up to 2047, but the model knows only 2047 tokens .*Use the tokenizer that belongs/,
    );
    expect(loadTokenizer(tinyDir, 3000).vocabSize).toBe(2048);
    const unigram = {
      model: {
        type: "Unigram",
        unk_id: 0,
        vocab: [
          ["<unk>", 0],
          ["a", -1],
        ],
      },
      added_tokens: [],
    };
    expect(() => tokenizerOf(unigram, {}, 1)).toThrow(/token ids up to 1/);
  });

  test("it is of a kind that the library does not know", () => {
    expect(() => tokenizerOf({ ...sentencePieceTokenizer(), decoder: { type: "Magic" } })).toThrow(
      /tokenizer\.json: can't be used: .*Magic/,
    );
    expect(() => tokenizerOf({})).toThrow(/tokenizer\.json: can't be used/);
  });

  test("it has no token for a part of the text", () => {
    const json = sentencePieceTokenizer();
    const bare = {
      ...json,
      model: { type: "BPE", vocab: { a: 0 }, merges: [], byte_fallback: false, unk_token: "<unk>" },
    };
    expect(() => tokenizerOf({ ...bare, added_tokens: [], normalizer: null }).encode("b")).toThrow(
      'the tokenizer has no token for a part of "b"',
    );
  });
});
