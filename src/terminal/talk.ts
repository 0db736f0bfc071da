import { type Answer, type AnswerEvent, Chat } from "../chat/index.ts";
import { escaped } from "../cli/plain-text.ts";
import { Cancelled, type Client, type SessionInfo } from "../client/index.ts";
import type { ChatCommand } from "./options.ts";
import { AnswerFigures, sessionFigures } from "./session-figures.ts";

/** One conversation, and what it has cost. */
export class Talk {
  readonly #figures = new AnswerFigures();

  private constructor(
    readonly chat: Chat,
    private readonly command: ChatCommand,
  ) {}

  /** Continues `session`, or begins a conversation. @throws KakeyaError, ModelError */
  static async open(client: Client, command: ChatCommand, session?: string): Promise<Talk> {
    const chat = await Chat.open(client, { model: command.tokenizer, system: command.system, session });
    // Before anything is asked: whether the session is there.
    if (session !== undefined) await chat.session.info();
    return new Talk(chat, command);
  }

  /** @returns the answer, also when `signal` has aborted it; undefined when there is none */
  async answer(message: string, signal: AbortSignal, hear: (event: AnswerEvent) => void): Promise<Answer | undefined> {
    try {
      for await (const event of this.chat.send(message, { ...this.command.sending, signal })) hear(event);
    } catch (error) {
      if (!(error instanceof Cancelled && signal.aborted)) throw error;
    }
    const answer = this.chat.lastAnswer;
    if (answer !== undefined) this.#figures.count(answer, (await this.info()).historyTokens);
    return answer;
  }

  info(): Promise<SessionInfo> {
    return this.chat.session.info();
  }

  async figures(): Promise<string> {
    return sessionFigures(await this.info(), this.chat.runtime, this.#figures);
  }

  /** The last answer as a line of JSON. */
  async json(answer: Answer): Promise<string> {
    const info = await this.info();
    const line = JSON.stringify({
      text: answer.text,
      reasoning: answer.reasoning,
      stop_reason: answer.stopReason,
      prompt_tokens: answer.promptTokens,
      answer_tokens: answer.answerTokens,
      first_token_s: answer.firstTokenS,
      total_s: answer.totalS,
      history_tokens: info.historyTokens,
      computed_tokens: info.computedTokens,
      kv_live_bytes: info.kvLiveBytes,
      kv_slab_bytes: info.kvSlabBytes,
      session_id: this.chat.session.id,
    });
    return escaped(line);
  }
}
