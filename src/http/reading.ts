import type { GenerationEvent, StopReason } from "../session/session.ts";
import { type AnswerEvent, AnswerParser, answerMarkers, opensThinking } from "../text/answer-parser.ts";
import type { ChatMessage, ToolCall } from "../text/messages.ts";
import { StopStrings } from "../text/stop-strings.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { newId } from "./ids.ts";

/** What an answer consists of, in the order in which it comes; a call comes when it is whole. */
export type AnswerPart = { type: "reasoning" | "text"; text: string } | { type: "call"; call: ToolCall };

export type AssistantMessage = Extract<ChatMessage, { role: "assistant" }>;

export interface ReadingOptions {
  tokenizer: Tokenizer;
  eosTokenIds: readonly number[];
  /** Texts that end the answer. */
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
  readonly #decoder;
  readonly #stops: StopStrings;
  readonly #parser: AnswerParser;
  readonly #eosTokenIds: readonly number[];
  readonly #said = { text: "", reasoning: "" };
  readonly #calls: ToolCall[] = [];
  #isThinking: boolean;

  constructor({ tokenizer, eosTokenIds, stop, tools, prompt }: ReadingOptions) {
    this.#isThinking = opensThinking(prompt);
    this.#decoder = tokenizer.decoder(answerMarkers);
    this.#stops = new StopStrings(stop);
    this.#parser = new AnswerParser({ tools, inThinking: this.#isThinking });
    this.#eosTokenIds = eosTokenIds;
  }

  /** A stop string was found. */
  get isOver(): boolean {
    return this.#stops.found !== undefined;
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
    const text = this.#eosTokenIds.includes(event.tokenId) ? "" : this.#decoder.push(event.tokenId);
    const parts = this.#read(this.#parser.push(this.#stops.push(text)));
    if (this.#isThinking) this.reasoningTokens++;
    return parts;
  }

  /** The parts that were held back. */
  end(): AnswerPart[] {
    const rest = this.#stops.push(this.#decoder.flush()) + this.#stops.end();
    return this.#read([...this.#parser.push(rest), ...this.#parser.end()]);
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
