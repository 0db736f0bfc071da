import { join } from "node:path";
import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { readJsonFile } from "../checkpoint/json-file.ts";
import { ModelError } from "../checkpoint/model-error.ts";
import { largestTokenId, requireVocabularyFits } from "../checkpoint/vocabulary.ts";
import { type StreamDecoder, streamDecoder } from "./stream-decoder.ts";
import { refuseGrowingText } from "./text-growth.ts";

export interface Tokenizer {
  /** One more than the largest id. */
  readonly vocabSize: number;
  /** Adds no special tokens; special tokens written in the text (a chat template's) are recognised. */
  encode(text: string): Uint32Array;
  /** The text of `ids`; special tokens and ids outside the vocabulary have none. */
  decode(ids: ArrayLike<number>): string;
  /** Decodes one stream of ids as they come. Special tokens have no text, except those among `keep`. */
  decoder(keep?: readonly string[]): StreamDecoder;
  /** The text of one token, special or not, as it lies in the vocabulary; undefined for an unknown id. */
  tokenText(id: number): string | undefined;
}

/**
 * Loads `<dir>/tokenizer.json` (and tokenizer_config.json, where there is one).
 *
 * Throws ModelError when it is missing or unusable, or has more tokens than the model's `modelVocabSize`.
 */
export function loadTokenizer(dir: string, modelVocabSize?: number): Tokenizer {
  const file = join(dir, "tokenizer.json");
  const json = readJsonFile(file);
  if (json === undefined) {
    throw new ModelError(file, "is missing", "Give a directory with the model's tokenizer.json (fast tokenizers only)");
  }
  if (modelVocabSize !== undefined) requireVocabularyFits(file, json, modelVocabSize);
  refuseGrowingText(file, json);
  const library = construct(file, json, readJsonFile(join(dir, "tokenizer_config.json")) ?? {});

  const special = specialTokens(library);
  const decode = (ids: ArrayLike<number>, keep: readonly string[] = []): string => {
    const shown = Array.from(ids).filter((id) => {
      const token = special.get(id);
      return token === undefined ? library.id_to_token(id) !== undefined : keep.includes(token);
    });
    // Cleaning up would drop spaces before punctuation, and with them the text's own bytes.
    const options = { skip_special_tokens: false, clean_up_tokenization_spaces: false };
    return shown.length === 0 ? "" : library.decode(shown, options);
  };
  return {
    vocabSize: largestTokenId(json) + 1,
    encode: (text) => encode(library, text),
    decode: (ids) => decode(ids),
    decoder: (keep) => streamDecoder((ids) => decode(ids, keep)),
    tokenText: (id) => library.id_to_token(id),
  };
}

/** The texts of special tokens by their ids. */
function specialTokens(library: HuggingFaceTokenizer): Map<number, string> {
  const added = [...library.get_added_tokens_decoder()].filter(([, token]) => token.special);
  return new Map(added.map(([id, token]) => [id, token.content]));
}

function construct(file: string, json: object, config: object): HuggingFaceTokenizer {
  try {
    return new HuggingFaceTokenizer(json, config);
  } catch (error) {
    throw new ModelError(file, `can't be used: ${String(error)}`, "Download the file again", { cause: error });
  }
}

function encode(library: HuggingFaceTokenizer, text: string): Uint32Array {
  const { ids } = library.encode(text, { add_special_tokens: false });
  const unknown = ids.findIndex((id) => !Number.isSafeInteger(id));
  if (unknown < 0) return Uint32Array.from(ids);
  throw new Error(`the tokenizer has no token for a part of ${JSON.stringify(text.slice(0, 80))}`);
}
