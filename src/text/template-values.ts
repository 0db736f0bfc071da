/** Messages and tools as chat templates expect them: OpenAI's field names, a call's arguments as an object. */

import type { ChatMessage, Tool } from "./messages.ts";

type TemplateValue = Readonly<Record<string, unknown>>;

/** Fields that a message does not have are left out, not undefined: templates ask `'tool_calls' in message`. */
export function templateMessage(message: ChatMessage): TemplateValue {
  const { role, content } = message;
  switch (message.role) {
    case "assistant": {
      const { reasoning, toolCalls = [] } = message;
      return {
        role,
        content,
        ...(reasoning === undefined ? {} : { reasoning_content: reasoning }),
        ...(toolCalls.length === 0 ? {} : { tool_calls: toolCalls.map(templateToolCall) }),
      };
    }
    case "tool":
      return {
        role,
        content,
        tool_call_id: message.toolCallId,
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

function templateToolCall({
  id,
  name,
  arguments: text,
}: {
  id: string;
  name: string;
  arguments: string;
}): TemplateValue {
  return { id, type: "function", function: { name, arguments: parsed(text) } };
}

/** Templates write them by `tojson`, which would quote a text once more. */
function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return json;
  }
}
