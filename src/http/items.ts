/** Items of responses and conversations, as they are on the wire, and the messages that they make. */

import type { ChatMessage, ToolCall } from "../text/messages.ts";
import { ApiError, invalid, unsupported } from "./api-error.ts";
import { Fields, shown } from "./fields.ts";
import { newId } from "./ids.ts";
import type { AssistantMessage } from "./reading.ts";
import { requireNeutral, textOf } from "./request-fields.ts";

export type ItemStatus = "in_progress" | "completed" | "incomplete";

export type Item =
  | { type: "message"; id: string; role: "user" | "system" | "developer"; status: ItemStatus; content: InputText[] }
  | { type: "message"; id: string; role: "assistant"; status: ItemStatus; content: OutputText[] }
  | {
      type: "reasoning";
      id: string;
      status: ItemStatus;
      summary: never[];
      content: { type: "reasoning_text"; text: string }[];
    }
  | { type: "function_call"; id: string; status: ItemStatus; call_id: string; name: string; arguments: string }
  | { type: "function_call_output"; id: string; status: ItemStatus; call_id: string; output: string };

interface InputText {
  type: "input_text";
  text: string;
}

export interface OutputText {
  type: "output_text";
  text: string;
  annotations: never[];
  logprobs: never[];
}

export const outputText = (text: string): OutputText => ({ type: "output_text", text, annotations: [], logprobs: [] });

/** Finds an item that an `item_reference` names. */
export type FindItem = (id: string) => Item | undefined;

/** Reads `input`: a text, or a list of items. @throws ApiError that names the first field that is wrong */
export function readInput(value: unknown, path: string, find: FindItem): Item[] {
  if (typeof value === "string") return [messageItem("user", value, newId("msg"))];
  if (!Array.isArray(value)) throw invalid(path, `'${path}' must be a string or a list of items, not ${shown(value)}`);
  return value.map((item: unknown, index) => readItem(new Fields(item, `${path}[${index}]`), find));
}

function readItem(fields: Fields, find: FindItem): Item {
  const type = fields.string("type") ?? "message";
  // An item that we gave out comes back with its id.
  const given = fields.string("id");
  fields.ignore("status");
  const item = ((): Item => {
    switch (type) {
      case "message":
        return readMessage(fields, given ?? newId("msg"));
      case "function_call":
        requireNeutral(fields, { namespace: [], async: [false], caller: [{ type: "direct" }] });
        return {
          type,
          id: given ?? newId("fc"),
          status: "completed",
          call_id: fields.required("call_id", fields.string("call_id")),
          name: fields.required("name", fields.string("name")),
          arguments: fields.required("arguments", fields.string("arguments")),
        };
      case "function_call_output": {
        requireNeutral(fields, { caller: [{ type: "direct" }] });
        const call_id = fields.required("call_id", fields.string("call_id"));
        const output = fields.required("output", fields.take("output"));
        const text = textOf(output, fields.pathOf("output"), ["input_text"]);
        return { type, id: given ?? newId("fco"), status: "completed", call_id, output: text };
      }
      case "reasoning":
        return readReasoning(fields, given ?? newId("rs"));
      case "item_reference": {
        const id = fields.required("id", given);
        const found = find(id);
        if (found !== undefined) return found;
        const message = `Item with id '${id.slice(0, 80)}' not found.`;
        throw new ApiError(message, { status: 404, param: fields.pathOf("id"), code: "not_found" });
      }
      default:
        throw unsupported(fields.pathOf("type"), `items of type ${shown(type)} are none that the model reads`);
    }
  })();
  fields.refuseOthers();
  return item;
}

function readMessage(fields: Fields, id: string): Item {
  const role = fields.required("role", fields.string("role"));
  const content = fields.required("content", fields.take("content"));
  const path = fields.pathOf("content");
  fields.ignore("phase");
  if (role === "assistant") return messageItem(role, textOf(content, path, ["output_text", "input_text"]), id);
  if (role === "user" || role === "system" || role === "developer") {
    return messageItem(role, textOf(content, path, ["input_text"]), id);
  }
  const param = fields.pathOf("role");
  throw invalid(param, `'${param}' must be user, system, developer or assistant, not ${shown(role)}`);
}

function readReasoning(fields: Fields, id: string): Item {
  requireNeutral(fields, { encrypted_content: [] });
  fields.ignore("summary");
  const content = fields.take("content") ?? [];
  const text = textOf(content, fields.pathOf("content"), ["reasoning_text"]);
  return { type: "reasoning", id, status: "completed", summary: [], content: [{ type: "reasoning_text", text }] };
}

export function messageItem(role: "user" | "system" | "developer" | "assistant", text: string, id: string): Item {
  if (role === "assistant") return { type: "message", id, role, status: "completed", content: [outputText(text)] };
  return { type: "message", id, role, status: "completed", content: [{ type: "input_text", text }] };
}

/** Items as messages: what the assistant says between two of others is one message. */
export function messagesOf(items: readonly Item[]): ChatMessage[] {
  const messages: ChatMessage[] = [];
  for (const item of items) {
    const message = messageOf(item);
    const last = messages.at(-1);
    if (message.role === "assistant" && last?.role === "assistant") messages.splice(-1, 1, joined(last, message));
    else messages.push(message);
  }
  return messages;
}

function messageOf(item: Item): ChatMessage {
  switch (item.type) {
    case "message": {
      const content = item.content.map(({ text }) => text).join("");
      return { role: item.role === "developer" ? "system" : item.role, content };
    }
    case "reasoning":
      return { role: "assistant", content: "", reasoning: item.content.map(({ text }) => text).join("") };
    case "function_call": {
      const call: ToolCall = { id: item.call_id, name: item.name, arguments: item.arguments };
      return { role: "assistant", content: "", toolCalls: [call] };
    }
    case "function_call_output":
      return { role: "tool", content: item.output, toolCallId: item.call_id };
  }
}

function joined(first: AssistantMessage, second: AssistantMessage): AssistantMessage {
  const reasoning = (first.reasoning ?? "") + (second.reasoning ?? "");
  const toolCalls = [...(first.toolCalls ?? []), ...(second.toolCalls ?? [])];
  return {
    role: "assistant",
    content: first.content + second.content,
    ...(reasoning === "" ? {} : { reasoning }),
    ...(toolCalls.length === 0 ? {} : { toolCalls }),
  };
}
