import { newId } from "./ids.ts";
import { type Item, type ItemStatus, outputText } from "./items.ts";
import type { AnswerPart } from "./reading.ts";

/** An event of a stream, still without its sequence number. */
export interface StreamEvent {
  type: string;
  [field: string]: unknown;
}

/** Makes output items of the parts of an answer, and says how they grow, in the specification's order. */
export class ResponseOutput {
  readonly items: Item[] = [];
  /** The last item, while more of it comes. */
  #open: { id: string; type: "text" | "reasoning"; text: string } | undefined;

  push(part: AnswerPart): StreamEvent[] {
    if (part.type === "call") return [...this.close("completed"), ...this.#call(part.call)];
    const events: StreamEvent[] = [];
    if (this.#open?.type !== part.type) events.push(...this.close("completed"), ...this.#begin(part.type));
    if (this.#open === undefined) return events;
    this.#open.text += part.text;
    const at = this.#at(this.#open.id);
    const delta = { ...at, content_index: 0, delta: part.text };
    const isText = part.type === "text";
    events.push(
      isText
        ? { type: "response.output_text.delta", ...delta, logprobs: [] }
        : { type: "response.reasoning_text.delta", ...delta },
    );
    return events;
  }

  /** Nothing more comes of the last item. */
  close(status: ItemStatus): StreamEvent[] {
    const open = this.#open;
    if (open === undefined) return [];
    const { id, type, text } = open;
    const at = { ...this.#at(id), content_index: 0 };
    const part = type === "text" ? outputText(text) : { type: "reasoning_text", text };
    const done =
      type === "text"
        ? { type: "response.output_text.done", ...at, text, logprobs: [] }
        : { type: "response.reasoning_text.done", ...at, text };
    const item = itemOf(open, status);
    const events: StreamEvent[] = [
      done,
      { type: "response.content_part.done", ...at, part },
      { type: "response.output_item.done", output_index: this.#index, item },
    ];
    this.items.push(item);
    this.#open = undefined;
    return events;
  }

  #begin(type: "text" | "reasoning"): StreamEvent[] {
    const open = { id: newId(type === "text" ? "msg" : "rs"), type, text: "" };
    this.#open = open;
    const part = type === "text" ? outputText("") : { type: "reasoning_text", text: "" };
    const item = { ...itemOf(open, "in_progress"), content: [] };
    return [
      { type: "response.output_item.added", output_index: this.#index, item },
      { type: "response.content_part.added", ...this.#at(open.id), content_index: 0, part },
    ];
  }

  #call({ id: call_id, name, arguments: text }: { id: string; name: string; arguments: string }): StreamEvent[] {
    const item = { type: "function_call", id: newId("fc"), call_id, name } as const;
    const at = this.#at(item.id);
    const whole: Item = { ...item, status: "completed", arguments: text };
    const events: StreamEvent[] = [
      {
        type: "response.output_item.added",
        output_index: this.#index,
        item: { ...item, status: "in_progress", arguments: "" },
      },
      { type: "response.function_call_arguments.delta", ...at, delta: text },
      { type: "response.function_call_arguments.done", ...at, name, arguments: text },
      { type: "response.output_item.done", output_index: this.#index, item: whole },
    ];
    this.items.push(whole);
    return events;
  }

  get #index(): number {
    return this.items.length;
  }

  #at(id: string) {
    return { item_id: id, output_index: this.#index };
  }
}

function itemOf(
  { id, type, text }: { id: string; type: "text" | "reasoning"; text: string },
  status: ItemStatus,
): Item {
  return type === "text"
    ? { type: "message", id, role: "assistant", status, content: [outputText(text)] }
    : { type: "reasoning", id, status, summary: [], content: [{ type: "reasoning_text", text }] };
}
