import { join } from "node:path";
import { isJsonObject, type JsonObject, readJsonFile } from "./json-file.ts";
import { ModelError } from "./model-error.ts";

/** An id and where it stands. */
interface Found {
  id: number;
  file: string;
}

/**
 * The ids that end an answer: those of generation_config.json and the eos_token of tokenizer_config.json; where both
 * are silent, those of config.json. In the order found, each once; empty when no file names any.
 *
 * An id that the model of `vocabSize` tokens can't give is dropped, with a warning that names the file. Throws
 * ModelError for anything that is not an id.
 */
export function readEosTokenIds(dir: string, vocabSize: number): { ids: number[]; warnings: string[] } {
  const own = [...eosField(join(dir, "generation_config.json")), ...eosOfTokenizer(dir)];
  const found = own.length > 0 ? own : eosField(join(dir, "config.json"));
  const beyond = found.filter(({ id }) => id >= vocabSize);
  return {
    ids: [...new Set(found.filter(({ id }) => id < vocabSize).map(({ id }) => id))],
    warnings: beyond.map(
      ({ id, file }) =>
        `${file} names token ${id} as the end of an answer, but the model has only ${vocabSize} tokens; it is left out`,
    ),
  };
}

/** `eos_token_id` is one id, a list, null or absent. */
function eosField(file: string): Found[] {
  const value = readJsonFile(file)?.eos_token_id;
  if (value === undefined || value === null) return [];
  const listed: unknown[] = Array.isArray(value) ? value : [value];
  return listed.map((id) => ({ id: tokenId(file, "eos_token_id", id), file }));
}

/** A token id is an unsigned 32-bit integer, as it is on the wire. */
function tokenId(file: string, where: string, id: unknown): number {
  if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id < 2 ** 32) return id;
  throw new ModelError(file, `${where} holds ${JSON.stringify(id)}, not a token id`, "Correct it or download it again");
}

function eosOfTokenizer(dir: string): Found[] {
  const file = join(dir, "tokenizer_config.json");
  const config = readJsonFile(file);
  const token = tokenText(config?.eos_token);
  if (config === undefined || token === undefined) return [];
  const decoder = config.added_tokens_decoder;
  if (isJsonObject(decoder)) {
    for (const [id, added] of Object.entries(decoder)) {
      if (tokenText(added) === token) return [{ id: tokenId(file, "added_tokens_decoder", parsed(id)), file }];
    }
  }
  const tokenizerFile = join(dir, "tokenizer.json");
  const id = idInTokenizer(readJsonFile(tokenizerFile) ?? {}, token);
  return id === undefined
    ? []
    : [{ id: tokenId(tokenizerFile, `token ${JSON.stringify(token)}`, id), file: tokenizerFile }];
}

/** The number that a key of JSON stands for, or the key. */
function parsed(key: string): number | string {
  return /^-?\d+$/.test(key) ? Number(key) : key;
}

function idInTokenizer(tokenizer: JsonObject, token: string): unknown {
  const added: unknown = tokenizer.added_tokens;
  for (const entry of Array.isArray(added) ? added : []) {
    if (isJsonObject(entry) && entry.content === token) return entry.id;
  }
  const model = tokenizer.model;
  const vocabulary = isJsonObject(model) ? model.vocab : undefined;
  return isJsonObject(vocabulary) && Object.hasOwn(vocabulary, token) ? vocabulary[token] : undefined;
}

/** A token is written as its text or as an object with `content`. */
export function tokenText(token: unknown): string | undefined {
  if (typeof token === "string") return token;
  return isJsonObject(token) && typeof token.content === "string" ? token.content : undefined;
}
