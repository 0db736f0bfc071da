import type { GenerationEvent, StopReason } from "../session/session.ts";
import { type AnswerEvent, opensThinking } from "../text/answer-parser.ts";
import { AnswerReader } from "../text/answer-reader.ts";
import type { ChatMessage, ToolCall } from "../text/messages.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { newId } from "./ids.ts";

/** What an answer consists of, in the order in which it comes; a call comes when it is whole. */
export type AnswerPart = { type: "reasoning" | "text"; text: string } | { type: "call"; call: ToolCall };

export type AssistantMessage = Extract<ChatMessage, { role: "assistant" }>;

export interface ReadingOptions {
  tokenizer: Tokenizer;
  eosTokenIds: readonly number[];
  /** Strings before which the answer ends; looked for in the answer's text, not in its thinking or its calls. */
  stop: readonly string[];
  /** Names of the functions that were offered. */
  tools: readonly string[];
  /** The prompt that the answer follows. */
  prompt: string;
}

/** Reads one answer, from ids to its parts. */
export class Reading {
  readonly ids: number[] = [];
  /** How many of the ids were thinking. */
  reasoningTokens = 0;
  stopReason: StopReason = "cancelled";
  firstTokenS = 0;
  readonly #reader: AnswerReader;
  readonly #eosTokenIds: readonly number[];
  readonly #said = { text: "", reasoning: "" };
  readonly #calls: ToolCall[] = [];
  #isThinking: boolean;

  constructor({ tokenizer, eosTokenIds, stop, tools, prompt }: ReadingOptions) {
    this.#isThinking = opensThinking(prompt);
    this.#reader = new AnswerReader(tokenizer, { tools, inThinking: this.#isThinking, stops: stop });
    this.#eosTokenIds = eosTokenIds;
  }

  /** A stop string was found. */
  get isOver(): boolean {
    return this.#reader.stoppedBy !== undefined;
  }

  get finish(): "stop" | "length" | "cancelled" {
    if (this.isOver || this.stopReason === "eos") return "stop";
    return this.stopReason === "max-tokens" ? "length" : "cancelled";
  }

  /** All of it so far, in one message. */
  get message(): AssistantMessage {
    const { text, reasoning } = this.#said;
    return {
      role: "assistant",
      content: text,
      ...(reasoning === "" ? {} : { reasoning }),
      ...(this.#calls.length === 0 ? {} : { toolCalls: this.#calls }),
    };
  }

  push(event: GenerationEvent): AnswerPart[] {
    if (event.kind === "done") {
      this.stopReason = event.stopReason;
      this.firstTokenS = event.firstTokenS;
    }
    if (event.kind !== "token") return [];
    this.ids.push(event.tokenId);
    const isEnd = this.#eosTokenIds.includes(event.tokenId);
    const parts = isEnd ? [] : this.#read(this.#reader.push(event.tokenId));
    if (this.#isThinking) this.reasoningTokens++;
    return parts;
  }

  /** The parts that were held back. */
  end(): AnswerPart[] {
    return this.#read(this.#reader.end());
  }

  #read(events: readonly AnswerEvent[]): AnswerPart[] {
    return events.flatMap((event): AnswerPart[] => {
      this.#isThinking = event.type === "reasoning";
      if (event.type === "tool_call_done") {
        const call = { id: newId("call"), name: event.name, arguments: event.arguments };
        this.#calls.push(call);
        return [{ type: "call", call }];
      }
      if (event.type !== "text" && event.type !== "reasoning") return [];
      this.#said[event.type] += event.text;
      return [{ type: event.type, text: event.text }];
    });
  }
}
