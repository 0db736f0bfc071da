import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { readEosTokenIds } from "../../src/checkpoint/eos.ts";
import { scratchDir } from "../scratch.ts";

function read(files: Record<string, unknown>): { ids: number[]; warnings: string[] } {
  using scratch = scratchDir();
  for (const [name, json] of Object.entries(files)) writeFileSync(join(scratch.path, name), JSON.stringify(json));
  return readEosTokenIds(scratch.path, 10);
}

const eosOf = (files: Record<string, unknown>) => read(files).ids;

test("kakeya-tiny ends its answers with <|im_end|>", () => {
  expect(readEosTokenIds(join(import.meta.dir, "../../models/kakeya-tiny"), 2048)).toEqual({
    ids: [2047],
    warnings: [],
  });
});

test("Ids of generation_config come first, the tokenizer's eos_token joins them, each once", () => {
  const added = { "9": { content: "<end>" }, "7": { content: "<other>" } };
  const tokenizer = { eos_token: { content: "<end>" }, added_tokens_decoder: added };
  expect(eosOf({ "generation_config.json": { eos_token_id: [5, 9] }, "tokenizer_config.json": tokenizer })).toEqual([
    5, 9,
  ]);
  expect(eosOf({ "generation_config.json": { eos_token_id: 5 }, "tokenizer_config.json": tokenizer })).toEqual([5, 9]);
});

test("An eos_token that tokenizer_config has no id for is looked up in tokenizer.json", () => {
  const named = { "tokenizer_config.json": { eos_token: "</s>" } };
  expect(eosOf({ ...named, "tokenizer.json": { added_tokens: [{ id: 3, content: "</s>" }] } })).toEqual([3]);
  expect(eosOf({ ...named, "tokenizer.json": { model: { vocab: { "</s>": 2 } } } })).toEqual([2]);
  expect(eosOf({ ...named, "tokenizer.json": { model: { vocab: {} } } })).toEqual([]);
  expect(eosOf(named)).toEqual([]);
});

test("config.json counts only where the others are silent", () => {
  const config = { "config.json": { eos_token_id: 2 } };
  expect(eosOf(config)).toEqual([2]);
  expect(eosOf({ ...config, "generation_config.json": { eos_token_id: 5 } })).toEqual([5]);
  expect(eosOf({ ...config, "generation_config.json": { eos_token_id: null } })).toEqual([2]);
  expect(eosOf({})).toEqual([]);
});

test("An id that is none is an error that names the file", () => {
  expect(() => eosOf({ "generation_config.json": { eos_token_id: [1, "</s>"] } })).toThrow(
    /generation_config\.json: eos_token_id holds "<\/s>", not a token id/,
  );
});

describe("Whatever file names it,", () => {
  const added = (id: string) => ({ eos_token: "</s>", added_tokens_decoder: { [id]: { content: "</s>" } } });
  const named = { "tokenizer_config.json": { eos_token: "</s>" } };
  const places: [string, (id: unknown) => Record<string, unknown>][] = [
    ["generation_config.json", (id) => ({ "generation_config.json": { eos_token_id: id } })],
    ["config.json", (id) => ({ "config.json": { eos_token_id: [id] } })],
    ["tokenizer_config.json", (id) => ({ "tokenizer_config.json": added(String(id)) })],
    ["tokenizer.json", (id) => ({ ...named, "tokenizer.json": { added_tokens: [{ id, content: "</s>" }] } })],
    ["tokenizer.json", (id) => ({ ...named, "tokenizer.json": { model: { vocab: { "</s>": id } } } })],
  ];
  describe.each(places)("%s,", (file, filesWith) => {
    test.each([2 ** 32, -1, 1.5, "x"])("%p is refused, with the file's name", (id) => {
      expect(() => read(filesWith(id))).toThrow(new RegExp(`/${file}: .* holds ("?)${id}\\1, not a token id`));
    });

    test("an id beyond the vocabulary is left out, with a warning", () => {
      const { ids, warnings } = read(filesWith(10));
      expect(ids).toEqual([]);
      expect(warnings).toEqual([
        expect.stringMatching(
          new RegExp(`/${file} names token 10 as the end of an answer, but the model has only 10 tokens`),
        ),
      ]);
    });
  });
});
