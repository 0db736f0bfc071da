import type { EngineInfo } from "../engine/engine.ts";
import { type ChatTemplate, loadChatTemplate } from "../text/chat-template.ts";
import { loadTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import { ApiError } from "./api-error.ts";

/** Turns messages into ids, and ids into messages. */
export interface TextModel {
  tokenizer: Tokenizer;
  template: ChatTemplate;
}

/** Why a model can't be talked to, in words that name the file that lacks something. */
export interface NoTextModel {
  problem: string;
}

export function openTextModel({ modelDir, vocabSize, eosTokenIds }: EngineInfo): TextModel | NoTextModel {
  try {
    const tokenizer = loadTokenizer(modelDir, vocabSize);
    return { tokenizer, template: loadChatTemplate(modelDir, tokenizer, eosTokenIds) };
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) };
  }
}

/** 501, which tells OpenAI's clients not to try again. */
export function noTextModel({ problem }: NoTextModel): ApiError {
  const headers = { "x-should-retry": "false" };
  return new ApiError(`this model takes no messages: ${problem}`, { status: 501, code: "no_chat_template", headers });
}
