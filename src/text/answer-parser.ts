import { JsonObjectScanner } from "./json-object-scanner.ts";
import { overlap } from "./stop-strings.ts";
import { type CalledFunction, readToolCall } from "./tool-call.ts";

/** What an answer consists of, in the order in which it comes. */
export type AnswerEvent =
  /** More of the model's thinking. */
  | { type: "reasoning"; text: string }
  /** More of the text of the answer. */
  | { type: "text"; text: string }
  /** It calls a function; `index` counts the calls of this answer from 0. */
  | { type: "tool_call"; index: number; name: string }
  /** More of that call's arguments, a JSON object. */
  | { type: "tool_call_arguments"; index: number; text: string }
  | { type: "tool_call_done"; index: number; name: string; arguments: string };

export interface AnswerParserOptions {
  /** Names of the functions that were offered. Without any, nothing is taken for a call. */
  tools?: readonly string[];
  /** The prompt has opened the thinking already (`opensThinking`). */
  inThinking?: boolean;
}

const thinkStart = "<think>";
const thinkEnd = "</think>";
const callStart = "<tool_call>";
const callEnd = "</tool_call>";
const pythonTag = "<|python_tag|>";
const listTag = "[TOOL_CALLS]";

/** Texts that a decoder has to show even where the model's tokenizer calls them special. */
export const answerMarkers: readonly string[] = [thinkStart, thinkEnd, callStart, callEnd, pythonTag, listTag];

/** Whether a prompt leaves the model in the middle of its thinking, as templates for models that always think do. */
export function opensThinking(prompt: string): boolean {
  return prompt.trimEnd().endsWith(thinkStart);
}

/**
 * Takes an answer apart while it is generated.
 *
 * - Thinking: `<think>...</think>` at the beginning of the answer; later it is text like any other.
 * - Calls: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>` anywhere (Qwen, Hermes), and `{"name": ...,
 *   "parameters": {...}}` in place of an answer (Llama 3, with or without `<|python_tag|>`, several divided by `;`) or
 *   `[TOOL_CALLS][{"name": ..., "arguments": {...}}, ...]` (Mistral), provided that it names a function that was
 *   offered.
 * - A call is given out once it is whole and known to be one. A malformed or unfinished call comes out as the text
 *   that it is; nothing is lost.
 * - White space next to a marker belongs to the format and is dropped; all other text comes out as it is.
 *
 * The outcome does not depend on how the text is split into pieces.
 */
export class AnswerParser {
  readonly #tools: readonly string[];
  /** Not looked at, or not decided yet. */
  #text = "";
  /** The next step. Returns whether it made progress; if not, it needs more text. */
  #state: (isEnd: boolean) => boolean;
  #events: AnswerEvent[] = [];
  #calls = 0;
  #scanner = new JsonObjectScanner();
  /** The calls are the entries of a list. */
  #inList = false;
  /** The text from before an object that may be a call. */
  #opening = "";

  constructor({ tools = [], inThinking = false }: AnswerParserOptions = {}) {
    this.#tools = tools;
    this.#state = inThinking ? this.#skipSpace(this.#thinking) : this.#beginning;
  }

  /** What the answer's next piece of text brings. */
  push(piece: string): AnswerEvent[] {
    this.#text += piece;
    return this.#run(false);
  }

  /** What is left when the answer has ended. */
  end(): AnswerEvent[] {
    return this.#run(true);
  }

  #run(isEnd: boolean): AnswerEvent[] {
    while (this.#state(isEnd));
    const events = this.#events;
    this.#events = [];
    return events;
  }

  #beginning = (isEnd: boolean): boolean => {
    const text = this.#text.trimStart();
    if (text.startsWith(thinkStart)) return this.#goOn(text.slice(thinkStart.length), this.#skipSpace(this.#thinking));
    if (!isEnd && thinkStart.startsWith(text)) return false;
    return this.#goOn(this.#text, this.#answer);
  };

  #thinking = (isEnd: boolean): boolean => {
    const end = this.#text.indexOf(thinkEnd);
    if (end >= 0) {
      this.#emit("reasoning", this.#text.slice(0, end).trimEnd());
      return this.#goOn(this.#text.slice(end + thinkEnd.length), this.#skipSpace(this.#answer));
    }
    this.#emitUpTo("reasoning", isEnd ? this.#text.trimEnd().length : decided(this.#text, thinkEnd));
    return false;
  };

  /** Before the first word: a bare object may be a call. */
  #answer = (isEnd: boolean): boolean => {
    if (this.#tools.length === 0) return this.#goOn(this.#text, this.#plain);
    const text = this.#text.trimStart();
    const tags = [pythonTag, listTag];
    const tag = tags.find((each) => text.startsWith(each)) ?? "";
    const body = text.slice(tag.length).replace(tag === listTag ? /^\s*\[?\s*/ : /^\s*/, "");
    if (!isEnd && (body === "" || (tag === "" && tags.some((each) => each.startsWith(text))))) return false;
    this.#inList = tag === listTag;
    return body.startsWith("{") ? this.#beginCall(body, this.#bareCall) : this.#goOn(this.#text, this.#words);
  };

  /** Text in which a tagged call may come. */
  #words = (isEnd: boolean): boolean => {
    const start = this.#text.indexOf(callStart);
    if (start >= 0) {
      this.#emitUpTo("text", this.#text.slice(0, start).trimEnd().length);
      return this.#goOn(this.#text, this.#tag);
    }
    this.#emitUpTo("text", isEnd ? this.#text.length : decided(this.#text, callStart));
    return false;
  };

  /** The text begins with the tag, and maybe with white space before it. */
  #tag = (isEnd: boolean): boolean => {
    const body = this.#text.trimStart().slice(callStart.length).trimStart();
    return body !== "" || isEnd ? this.#beginCall(body, this.#taggedCall) : false;
  };

  #plain = (): boolean => {
    this.#emitUpTo("text", this.#text.length);
    return false;
  };

  #taggedCall = (isEnd: boolean): boolean => this.#call(isEnd, () => true);

  #bareCall = (isEnd: boolean): boolean => this.#call(isEnd, ({ name }) => this.#tools.includes(name));

  #call(isEnd: boolean, accepts: (call: CalledFunction) => boolean): boolean {
    this.#scanner.scan(this.#text);
    const { end, malformed } = this.#scanner;
    if (end !== undefined) {
      const call = readToolCall(this.#text.slice(0, end), this.#scanner);
      if (call !== undefined && accepts(call)) {
        this.#emitCall(call);
        return this.#goOn(this.#text.slice(end), this.#afterCall);
      }
    }
    if (end === undefined && !malformed && !isEnd) return false;
    // It was text: the marker as it stands, and what follows may hold another call.
    this.#emit("text", this.#opening);
    return this.#goOn(this.#text, this.#words);
  }

  #afterCall = (isEnd: boolean): boolean => {
    const text = this.#text.trimStart();
    if (text.startsWith(callEnd)) return this.#goOn(text.slice(callEnd.length), this.#afterCall);
    if (this.#inList && text.startsWith("]")) return this.#goOn(text.slice(1), this.#afterCall);
    const next = text.replace(this.#inList ? /^,\s*/ : /^;\s*/, "");
    if (!isEnd && (next === "" || callEnd.startsWith(text))) return false;
    return next.startsWith("{") ? this.#beginCall(next, this.#bareCall) : this.#goOn(text, this.#words);
  };

  /** Goes to `next` at the first character that is not white space. */
  #skipSpace(next: (isEnd: boolean) => boolean): (isEnd: boolean) => boolean {
    return () => {
      const text = this.#text.trimStart();
      if (text === "") return false;
      return this.#goOn(text, next);
    };
  }

  #beginCall(body: string, state: (isEnd: boolean) => boolean): boolean {
    this.#opening = this.#text.slice(0, this.#text.length - body.length);
    this.#scanner = new JsonObjectScanner();
    return this.#goOn(body, state);
  }

  #goOn(text: string, state: (isEnd: boolean) => boolean): true {
    this.#text = text;
    this.#state = state;
    return true;
  }

  #emitUpTo(type: "reasoning" | "text", length: number): void {
    this.#emit(type, this.#text.slice(0, length));
    this.#text = this.#text.slice(length);
  }

  #emit(type: "reasoning" | "text", text: string): void {
    if (text !== "") this.#events.push({ type, text });
  }

  #emitCall(call: CalledFunction): void {
    const index = this.#calls++;
    this.#events.push({ type: "tool_call", index, name: call.name });
    this.#events.push({ type: "tool_call_arguments", index, text: call.arguments });
    this.#events.push({ type: "tool_call_done", index, ...call });
  }
}

/** How much of `text` is certain to come before `marker` and the white space in front of it. */
function decided(text: string, marker: string): number {
  return text.slice(0, text.length - overlap(text, marker)).trimEnd().length;
}
