/** Messages and tools as chat templates expect them, in OpenAI's field names. */

import { createHash } from "node:crypto";
import type { ChatMessage, Tool, ToolCall } from "./messages.ts";

type TemplateValue = Readonly<Record<string, unknown>>;

/** How a call's arguments are given to a template. */
export type ArgumentsForm = "object" | "text";

/** Fields that a message does not have are left out, not undefined: templates ask `'tool_calls' in message`. */
export function templateMessage(message: ChatMessage, form: ArgumentsForm): TemplateValue {
  const { role, content } = message;
  switch (message.role) {
    case "assistant": {
      const { reasoning, toolCalls = [] } = message;
      return {
        role,
        content,
        ...(reasoning === undefined ? {} : { reasoning_content: reasoning }),
        ...(toolCalls.length === 0 ? {} : { tool_calls: toolCalls.map((call) => templateToolCall(call, form)) }),
      };
    }
    case "tool":
      return {
        role,
        content,
        tool_call_id: callId(message.toolCallId),
        ...(message.name === undefined ? {} : { name: message.name }),
      };
    default:
      return { role, content };
  }
}

export function templateTool({ name, description, parameters }: Tool): TemplateValue {
  return {
    type: "function",
    function: {
      name,
      ...(description === undefined ? {} : { description }),
      ...(parameters === undefined ? {} : { parameters }),
    },
  };
}

function templateToolCall({ id, name, arguments: text }: ToolCall, form: ArgumentsForm): TemplateValue {
  return { id: callId(id), type: "function", function: { name, arguments: form === "text" ? text : parsed(text) } };
}

/** Mistral's templates refuse ids that are not nine letters and digits; to the others one id is as good as another. */
function callId(id: string): string {
  if (/^[A-Za-z0-9]{9}$/.test(id)) return id;
  return createHash("sha256").update(id).digest("hex").slice(0, 9);
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return json;
  }
}
