import { join } from "node:path";
import { isJsonObject, type JsonObject, readJsonFile } from "./json-file.ts";
import { ModelError } from "./model-error.ts";

/**
 * The ids that end an answer: those of generation_config.json and the eos_token of tokenizer_config.json;
 * where both are silent, those of config.json. In the order found, each once; empty when no file names any.
 */
export function readEosTokenIds(dir: string): number[] {
  const generation = eosField(join(dir, "generation_config.json"));
  const tokenizer = eosOfTokenizer(dir);
  const ids = [...generation, ...tokenizer];
  return [...new Set(ids.length > 0 ? ids : eosField(join(dir, "config.json")))];
}

/** `eos_token_id` is one id, a list, null or absent. */
function eosField(file: string): number[] {
  const value = readJsonFile(file)?.eos_token_id;
  if (value === undefined || value === null) return [];
  const listed: unknown[] = Array.isArray(value) ? value : [value];
  return listed.map((id) => {
    if (typeof id === "number" && Number.isSafeInteger(id) && id >= 0) return id;
    throw new ModelError(
      file,
      `eos_token_id holds ${JSON.stringify(id)}, not a token id`,
      "Correct it or download it again",
    );
  });
}

function eosOfTokenizer(dir: string): number[] {
  const config = readJsonFile(join(dir, "tokenizer_config.json"));
  const token = tokenText(config?.eos_token);
  if (config === undefined || token === undefined) return [];
  const decoder = config.added_tokens_decoder;
  if (isJsonObject(decoder)) {
    for (const [id, added] of Object.entries(decoder)) if (tokenText(added) === token) return [Number(id)];
  }
  const id = idInTokenizer(readJsonFile(join(dir, "tokenizer.json")) ?? {}, token);
  return id === undefined ? [] : [id];
}

function idInTokenizer(tokenizer: JsonObject, token: string): number | undefined {
  const added: unknown = tokenizer.added_tokens;
  for (const entry of Array.isArray(added) ? added : []) {
    if (isJsonObject(entry) && entry.content === token && typeof entry.id === "number") return entry.id;
  }
  const model = tokenizer.model;
  const vocabulary = isJsonObject(model) ? model.vocab : undefined;
  const id = isJsonObject(vocabulary) && Object.hasOwn(vocabulary, token) ? vocabulary[token] : undefined;
  return typeof id === "number" ? id : undefined;
}

/** A token is written as its text or as an object with `content`. */
function tokenText(token: unknown): string | undefined {
  if (typeof token === "string") return token;
  return isJsonObject(token) && typeof token.content === "string" ? token.content : undefined;
}
