import {
  type CallOptions,
  Cancelled,
  type Client,
  FailedPrecondition,
  type GenerateOptions,
  type RuntimeInfo,
  type Session,
  type StopReason,
} from "../client/index.ts";
import { type AnswerEvent, opensThinking } from "../text/answer-parser.ts";
import { AnswerReader } from "../text/answer-reader.ts";
import type { ChatTemplate } from "../text/chat-template.ts";
import type { ChatMessage, Tool, ToolCall } from "../text/messages.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { loadChatModel } from "./chat-model.ts";

export interface ChatOptions extends CallOptions {
  /**
   * Directory, or Hugging Face id in the local cache, with the model's tokenizer and chat template. Absent: they are
   * looked for by the name of the model that the server serves.
   */
  model?: string | undefined;
  /** Id of a session to continue, perhaps of another process. Absent: a new session. */
  session?: string | undefined;
  /** The system message; of a session that is continued, the one that it began with. */
  system?: string | undefined;
  /** Functions that the model may call. */
  tools?: readonly Tool[];
  /** Variables of the model's own chat template, for example `{ enable_thinking: false }` for Qwen3. */
  variables?: Readonly<Record<string, unknown>>;
}

export interface SendOptions extends Omit<GenerateOptions, "maxTokens"> {
  /** Longest answer, thinking included. Absent: 2,048. */
  maxTokens?: number;
  /** Strings before which the answer ends. */
  stops?: readonly string[];
}

/** An answer as a whole. */
export interface Answer {
  text: string;
  /** What the model thought first; empty where it doesn't. */
  reasoning: string;
  /** To be answered by messages of role "tool". */
  toolCalls: ToolCall[];
  stopReason: StopReason | "stop-string";
  /** Tokens that the message added to the history: what it cost, whatever the history's length. */
  promptTokens: number;
  /** Tokens that arrived. */
  answerTokens: number;
  /** Server's time until the first token and for all, in seconds; NaN when the answer was broken off. */
  firstTokenS: number;
  totalS: number;
}

const usualMaxTokens = 2048;

/**
 * A conversation in text with a server of token ids. Tokenizer and chat template are on this side; a message costs its
 * own tokens, since the session on the server has all that was said before.
 *
 * Besides KakeyaError, calls throw TemplateError for what the model's template can't say.
 */
export class Chat {
  #lastAnswer: Answer | undefined;
  #answering = false;
  #calls = 0;

  private constructor(
    /** The session on the server: its id continues the conversation elsewhere. */
    readonly session: Session,
    /** Of the server, when the conversation was opened. */
    readonly runtime: RuntimeInfo,
    private readonly tokenizer: Tokenizer,
    private readonly template: ChatTemplate,
    private readonly options: Pick<ChatOptions, "system" | "tools" | "variables">,
  ) {}

  /**
   * Begins a conversation, or continues the one of `options.session`.
   * @throws ModelError when the model's tokenizer or chat template is not on this machine, or there is none
   */
  static async open(client: Client, { model, session: id, signal, ...options }: ChatOptions = {}): Promise<Chat> {
    const call = signal === undefined ? {} : { signal };
    const runtime = await client.runtimeInfo(call);
    const { tokenizer, template } = loadChatModel(runtime, model);
    const eosTokenIds = runtime.defaultEosTokenIds;
    const session =
      id === undefined ? await client.createSession({ eosTokenIds, label: "chat", ...call }) : client.session(id);
    return new Chat(session, runtime, tokenizer, template, options);
  }

  /** The last answer, or the part before it was cancelled; undefined before the first and after a failure. */
  get lastAnswer(): Answer | undefined {
    return this.#lastAnswer;
  }

  /**
   * Sends `message` and streams the answer. Leaving the loop, or aborting `signal`, ends the answer, and the
   * conversation goes on with what was said until then. Results of tools are sent as messages of role "tool".
   *
   * @throws TemplateError when the model's template can't say the message; nothing is sent then
   */
  async *send(
    message: string | readonly ChatMessage[],
    { maxTokens = usualMaxTokens, stops = [], ...options }: SendOptions = {},
  ): AsyncGenerator<AnswerEvent, void> {
    if (this.#answering) throw new FailedPrecondition("the previous answer has not ended: read it, or leave its loop");
    this.#answering = true;
    this.#lastAnswer = undefined;
    try {
      const messages = typeof message === "string" ? [{ role: "user", content: message } as const] : message;
      const call = options.signal === undefined ? {} : { signal: options.signal };
      const prompt = await this.#prompt(messages, call);
      const ids = this.tokenizer.encode(prompt);
      const tools = (this.options.tools ?? []).map(({ name }) => name);
      const reader = new AnswerReader(this.tokenizer, { inThinking: opensThinking(prompt), tools, stops });
      await this.session.append(ids, call);
      yield* this.#answer(reader, ids.length, { maxTokens, ...options });
    } finally {
      this.#answering = false;
    }
  }

  /** Sends `message` and resolves to the whole answer. */
  async ask(message: string | readonly ChatMessage[], options: SendOptions = {}): Promise<Answer> {
    for await (const _ of this.send(message, options));
    if (this.#lastAnswer === undefined) throw new Cancelled("the answer was cancelled");
    return this.#lastAnswer;
  }

  /** Ends the session on the server; without it, it can be continued by its id. */
  async close(options: CallOptions = {}): Promise<void> {
    await this.session.close(options);
  }

  /** The session itself tells where it stands: also after a failure, and whoever used it in between. */
  async #prompt(messages: readonly ChatMessage[], call: CallOptions): Promise<string> {
    const { historyTokens, lastTokenId } = await this.session.info(call);
    const { system, tools = [], variables = {} } = this.options;
    if (historyTokens === 0) {
      const first = system === undefined ? [] : [{ role: "system", content: system } as const];
      return this.template.render([...first, ...messages], { tools, variables });
    }
    const ended = lastTokenId === undefined || this.runtime.defaultEosTokenIds.includes(lastTokenId);
    const about = { tools, variables, ...(system === undefined ? {} : { system }) };
    return this.template.delta(messages, { ...about, answerWas: ended ? "ended" : "cut" });
  }

  async *#answer(
    reader: AnswerReader,
    promptTokens: number,
    options: GenerateOptions,
  ): AsyncGenerator<AnswerEvent, void> {
    const said: Pick<Answer, "text" | "reasoning" | "toolCalls"> = { text: "", reasoning: "", toolCalls: [] };
    const heard = (events: readonly AnswerEvent[]) => {
      for (const event of events) this.#note(said, event);
      return events;
    };
    try {
      for await (const id of this.session.generate(options)) {
        yield* heard(reader.push(id));
        if (reader.stoppedBy !== undefined) break;
      }
      yield* heard(reader.end());
    } catch (error) {
      if (error instanceof Cancelled) yield* heard(reader.end());
      throw error;
    } finally {
      const result = this.session.lastResult;
      if (result !== undefined) {
        const { generatedTokens: answerTokens, firstTokenS, totalS } = result;
        const stopReason = reader.stoppedBy === undefined ? result.stopReason : "stop-string";
        this.#lastAnswer = { ...said, stopReason, promptTokens, answerTokens, firstTokenS, totalS };
      }
    }
  }

  #note(said: Pick<Answer, "text" | "reasoning" | "toolCalls">, event: AnswerEvent): void {
    if (event.type === "text") said.text += event.text;
    else if (event.type === "reasoning") said.reasoning += event.text;
    else if (event.type === "tool_call_done") {
      // Nine letters and digits: some templates refuse other ids.
      const id = `call${String(++this.#calls).padStart(5, "0")}`;
      said.toolCalls.push({ id, name: event.name, arguments: event.arguments });
    }
  }
}
