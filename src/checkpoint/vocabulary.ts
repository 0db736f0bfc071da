import { isJsonObject, type JsonObject } from "./json-file.ts";
import { ModelError } from "./model-error.ts";

/** The largest token id in a tokenizer.json, added tokens included; -1 when there is none. */
export function largestTokenId(tokenizer: JsonObject): number {
  const model = isJsonObject(tokenizer.model) ? tokenizer.model : {};
  let largest = -1;
  const consider = (id: unknown) => {
    if (typeof id === "number" && id > largest) largest = id;
  };
  if (isJsonObject(model.vocab)) for (const id of Object.values(model.vocab)) consider(id);
  else if (Array.isArray(model.vocab)) consider(model.vocab.length - 1); // Unigram: a list of [token, score].
  const added: unknown[] = Array.isArray(tokenizer.added_tokens) ? tokenizer.added_tokens : [];
  for (const token of added) if (isJsonObject(token)) consider(token.id);
  return largest;
}

/**
 * Throws ModelError when the tokenizer in `file` knows ids that a model of `modelVocabSize` tokens has no embedding
 * for. The other way round is common and harmless: models pad their vocabulary.
 */
export function requireVocabularyFits(file: string, tokenizer: JsonObject, modelVocabSize: number): void {
  const largest = largestTokenId(tokenizer);
  if (largest < modelVocabSize) return;
  throw new ModelError(
    file,
    `has token ids up to ${largest}, but the model knows only ${modelVocabSize} tokens (vocab_size)`,
    "Use the tokenizer that belongs to this model",
  );
}
