import { ModelError } from "../checkpoint/model-error.ts";
import { type CompiledTemplate, compileTemplate } from "./jinja.ts";
import type { ChatMessage, Tool } from "./messages.ts";
import { TemplateError } from "./template-error.ts";
import { readTemplateFile, type TemplateFile } from "./template-file.ts";
import { callProbe, type Probe, probes, sentinel as sentinelBase } from "./template-probes.ts";
import { type ArgumentsForm, templateMessage, templateTool } from "./template-values.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** What holds for a whole conversation, not for one message. */
export interface TemplateOptions {
  /** Functions that the model may call. */
  tools?: readonly Tool[];
  /** Variables of the model's own template, for example `enable_thinking: false` for Qwen3. */
  variables?: Readonly<Record<string, unknown>>;
}

export interface DeltaOptions extends TemplateOptions {
  /**
   * How the answer before ended: by one of the model's end tokens, which is in the history then, or cut off (by a
   * limit, a stop string, an abort), so that the history ends in the middle of it.
   */
  answerWas: "ended" | "cut";
  /** The system message that the conversation began with: some templates write it again with the last message. */
  system?: string;
}

/**
 * Turns messages into the text that the model was trained on, by the model's own Jinja template.
 *
 * A session is append-only, so only its first turn is rendered as a whole (`render`). Each later turn appends a
 * `delta`: what the template writes after the answer before. Rendered again as a whole, a history may come out
 * otherwise: Qwen3's template drops the thinking of earlier answers, which the session has and keeps.
 */
export class ChatTemplate {
  readonly #plain: CompiledTemplate;
  readonly #withTools: CompiledTemplate;
  readonly #probes = new Map<Probe, boolean>();
  #argumentsForm: ArgumentsForm | undefined;

  /**
   * @param endTokens The texts of the tokens that end an answer, for example `<|im_end|>`.
   * @throws ModelError when the file holds no Jinja template.
   */
  constructor(
    private readonly file: TemplateFile,
    private readonly endTokens: readonly string[],
    private readonly now: () => Date = () => new Date(),
  ) {
    try {
      this.#plain = compileTemplate(file.source);
      this.#withTools = file.sourceWithTools === file.source ? this.#plain : compileTemplate(file.sourceWithTools);
    } catch (cause) {
      const problem = `its chat template is no Jinja that kakeya understands: ${reason(cause)}`;
      throw new ModelError(file.file, problem, "Correct it or download it again", { cause });
    }
  }

  /**
   * The text of a conversation from its beginning, up to where the next answer begins.
   *
   * @throws TemplateError when the template refuses the messages, or would silently leave some of them out.
   */
  render(messages: readonly ChatMessage[], options: TemplateOptions = {}): string {
    if (messages.length === 0) throw new TemplateError("there is no message to answer");
    if (messages[0]?.role === "system" && !this.#keeps("a system message")) {
      throw new TemplateError("the model's chat template does not write a system message");
    }
    return this.#checked(messages, 1, options, (given) => this.#run(given, options));
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
      const text = this.#run([...before, ...given], options);
      const at = text.lastIndexOf(sentinel);
      if (at < 0) throw new TemplateError("the model's chat template does not write the assistant's messages");
      return text.slice(at + sentinel.length);
    });
    return options.answerWas === "ended" ? this.#afterEndToken(tail) : tail;
  }

  /** Whether the template tells the model about tools. */
  get takesTools(): boolean {
    return this.#keeps("tools");
  }

  /** An answer ends with one end token: the one that the model chose stands for the one that the template writes. */
  #afterEndToken(tail: string): string {
    const text = tail.trimStart();
    const end = this.endTokens.find((token) => text.startsWith(token));
    return end === undefined ? tail : text.slice(end.length);
  }

  #run(messages: readonly ChatMessage[], options: TemplateOptions, form = this.#argumentsFor(messages)): string {
    const hasTools = options.tools !== undefined && options.tools.length > 0;
    const template = hasTools ? this.#withTools : this.#plain;
    const variables = {
      ...this.file.specialTokens,
      ...options.variables,
      messages: messages.map((message) => templateMessage(message, form)),
      // transformers defines both, as None where there are none.
      tools: hasTools ? options.tools?.map(templateTool) : null,
      documents: null,
      add_generation_prompt: true,
    };
    try {
      return template(variables, this.now());
    } catch (cause) {
      throw new TemplateError(`the model's chat template refuses these messages: ${reason(cause)}`, { cause });
    }
  }

  /** Most templates want a call's arguments as an object, to write it by `tojson`; some, its text. */
  #argumentsFor(messages: readonly ChatMessage[]): ArgumentsForm {
    const hasCalls = messages.some((message) => message.role === "assistant" && (message.toolCalls ?? []).length > 0);
    if (!hasCalls) return "object";
    this.#argumentsForm ??= this.#writesArguments("object") || !this.#writesArguments("text") ? "object" : "text";
    return this.#argumentsForm;
  }

  #writesArguments(form: ArgumentsForm): boolean {
    try {
      // Written by tojson, a text comes out with its quotes escaped.
      return this.#run(callProbe, {}, form).includes(`"${sentinelBase}":`);
    } catch {
      return false;
    }
  }

  /**
   * `write(messages)`, once it is known that nothing is missing in it. Some templates skip what they don't know, or
   * move it to the beginning of the conversation, which a session has behind it; the model would then answer something
   * else than was asked. The messages from `first` on are looked at.
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

  /** Whether `probe` shows in the rendering. A template that refuses it says better why when it is rendered. */
  #keeps(probe: Probe): boolean {
    const known = this.#probes.get(probe);
    if (known !== undefined) return known;
    const keeps = this.#shows(probe);
    this.#probes.set(probe, keeps);
    return keeps;
  }

  #shows(probe: Probe): boolean {
    const { messages, tools } = probes[probe];
    try {
      return this.#run(messages, tools === undefined ? {} : { tools }).includes(sentinelBase);
    } catch {
      return probe !== "tools";
    }
  }
}

function unusedSentinel(messages: readonly ChatMessage[], options: DeltaOptions): string {
  const given = JSON.stringify([messages, options]);
  let sentinel = `${sentinelBase}Answer`;
  while (given.includes(sentinel)) sentinel += "X";
  return sentinel;
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
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
