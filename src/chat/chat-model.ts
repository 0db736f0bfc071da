import { ModelError } from "../checkpoint/model-error.ts";
import type { RuntimeInfo } from "../client/index.ts";
import { type ChatTemplate, loadChatTemplate } from "../text/chat-template.ts";
import { servedModelDir } from "../text/served-model.ts";
import { loadTokenizer, type Tokenizer } from "../text/tokenizer.ts";

/** What turns messages into the served model's ids and back. @throws ModelError */
export function loadChatModel(
  { modelId, vocabSize, defaultEosTokenIds }: RuntimeInfo,
  asked: string | undefined,
): { tokenizer: Tokenizer; template: ChatTemplate } {
  const dir = chatModelDir(modelId, asked);
  const tokenizer = loadTokenizer(dir, vocabSize);
  return { tokenizer, template: loadChatTemplate(dir, tokenizer, defaultEosTokenIds) };
}

function chatModelDir(modelId: string, asked: string | undefined): string {
  try {
    return servedModelDir(modelId, asked, process.env);
  } catch (cause) {
    if (asked !== undefined) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    const problem = `is served, and its tokenizer and chat template are not found here: ${why}`;
    throw new ModelError(modelId, problem, "Or name the directory or Hugging Face id that has them", { cause });
  }
}
