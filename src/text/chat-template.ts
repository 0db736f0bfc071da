import type { ChatMessage } from "./messages.ts";
import { TemplateError } from "./template-error.ts";
import { readTemplateFile, type TemplateFile } from "./template-file.ts";
import { sentinel as sentinelBase } from "./template-probes.ts";
import { type TemplateOptions, TemplateRenderer } from "./template-renderer.ts";
import type { Tokenizer } from "./tokenizer.ts";

export interface DeltaOptions extends TemplateOptions {
  /**
   * How the previous answer ended: by one of the model's end tokens, which is then in the history; or it was cut off
   * (by a limit, a stop string, an abort), so that the history ends in the middle of it.
   */
  answerWas: "ended" | "cut";
  /** The system message that the conversation began with: some templates write it again with the last message. */
  system?: string;
}

/**
 * Turns messages into the text that the model was trained on, by the model's own Jinja template.
 *
 * A session is append-only, so only its first turn is rendered as a whole (`render`). Each later turn appends a
 * `delta`: what the template writes after the previous answer. Rendered again as a whole, a history may come out
 * differently: Qwen3's template drops the thinking of earlier answers, which the session has and keeps.
 */
export class ChatTemplate {
  readonly #renderer: TemplateRenderer;

  /**
   * @param endTokens The texts of the tokens that end an answer, for example `<|im_end|>`.
   * @throws ModelError when the file holds no Jinja template.
   */
  constructor(
    file: TemplateFile,
    private readonly endTokens: readonly string[],
    now: () => Date = () => new Date(),
  ) {
    this.#renderer = new TemplateRenderer(file, now);
  }

  /**
   * The text of a conversation from its beginning, up to where the next answer begins.
   *
   * @throws TemplateError when the template refuses the messages, or would silently leave some of them out.
   */
  render(messages: readonly ChatMessage[], options: TemplateOptions = {}): string {
    if (messages.length === 0) throw new TemplateError("there is no message to answer");
    if (messages[0]?.role === "system" && !this.#renderer.writes("a system message")) {
      throw new TemplateError("the model's chat template does not write a system message");
    }
    return this.#checked(messages, 1, options, (given) => this.#renderer.render(given, options));
  }

  /**
   * The text to append for `messages`, which follow an answer, up to where the next answer begins. It does not depend
   * on the conversation before that answer, so its cost does not, either.
   *
   * @throws TemplateError as `render` does.
   */
  delta(messages: readonly ChatMessage[], options: DeltaOptions): string {
    if (messages.length === 0) throw new TemplateError("there is no message to answer");
    const sentinel = unusedSentinel(messages, options);
    const before: ChatMessage[] = [
      ...(options.system === undefined ? [] : [{ role: "system", content: options.system } as const]),
      { role: "user", content: "?" }, // Templates insist on a question before an answer.
      { role: "assistant", content: sentinel },
    ];
    const tail = this.#checked(messages, 0, options, (given) => {
      const text = this.#renderer.render([...before, ...given], options);
      const at = text.lastIndexOf(sentinel);
      if (at < 0) throw new TemplateError("the model's chat template does not write the assistant's messages");
      return text.slice(at + sentinel.length);
    });
    return options.answerWas === "ended" ? this.#afterEndToken(tail) : tail;
  }

  /** Whether the template tells the model about tools. */
  get takesTools(): boolean {
    return this.#renderer.writes("tools");
  }

  /** An answer ends with one end token: the one that the model chose stands for the one that the template writes. */
  #afterEndToken(tail: string): string {
    const text = tail.trimStart();
    const end = this.endTokens.find((token) => text.startsWith(token));
    return end === undefined ? tail : text.slice(end.length);
  }

  /**
   * `write(messages)`, once it is known that nothing is missing in it. Some templates skip what they don't know, or
   * move it to the beginning of the conversation, which a session can no longer change. The model would then answer
   * something other than what was asked. The messages from `first` on are checked.
   */
  #checked(
    messages: readonly ChatMessage[],
    first: number,
    { tools = [] }: TemplateOptions,
    write: (messages: readonly ChatMessage[]) => string,
  ): string {
    if (tools.length > 0 && !this.takesTools) {
      throw new TemplateError("the model's chat template does not write tools");
    }
    const suspects = messages.map(({ role }, index) => index >= first && (role === "system" || role === "tool"));
    if (suspects.includes(true)) {
      const mark = (index: number) => `${sentinelBase}${index}x`;
      const marked = messages.map((message, i) => (suspects[i] ? { ...message, content: mark(i) } : message));
      const text = write(marked);
      const missing = messages.find((_, index) => suspects[index] && !text.includes(mark(index)));
      const what =
        missing?.role === "tool" ? "the results of tools" : "a system message in the middle of a conversation";
      if (missing !== undefined) throw new TemplateError(`the model's chat template does not write ${what}`);
    }
    return write(messages);
  }
}

function unusedSentinel(messages: readonly ChatMessage[], options: DeltaOptions): string {
  const given = JSON.stringify([messages, options]);
  let sentinel = `${sentinelBase}Answer`;
  while (given.includes(sentinel)) sentinel += "X";
  return sentinel;
}

/**
 * The chat template of the model in `dir`. `eosTokenIds` end its answers (`EngineInfo`, `readEosTokenIds`).
 *
 * Throws ModelError when there is none, or it can't be used.
 */
export function loadChatTemplate(
  dir: string,
  tokenizer: Pick<Tokenizer, "tokenText">,
  eosTokenIds: readonly number[],
): ChatTemplate {
  const endTokens = eosTokenIds.map((id) => tokenizer.tokenText(id));
  return new ChatTemplate(
    readTemplateFile(dir),
    endTokens.filter((text) => text !== undefined),
  );
}
