/** Small conversations that show what a chat template writes, and what it silently leaves out. */

import type { ChatMessage, Tool } from "./messages.ts";

/** A text that no template changes. */
export const sentinel = "kakeyaSentinel";

export type Probe = "a system message" | "a system message after the first message" | "tool results" | "tools";

const question = { role: "user", content: "?" } as const;
const answer = { role: "assistant", content: "!" } as const;
const call = { id: "call00000", name: "f", arguments: "{}" };

/** Each with the sentinel in the part that it asks about. */
export const probes: Readonly<Record<Probe, { messages: ChatMessage[]; tools?: Tool[] }>> = {
  "a system message": { messages: [{ role: "system", content: sentinel }, question] },
  "a system message after the first message": {
    messages: [question, answer, { role: "system", content: sentinel }, question],
  },
  "tool results": {
    messages: [
      question,
      { role: "assistant", content: "", toolCalls: [call] },
      { role: "tool", content: sentinel, toolCallId: call.id, name: call.name },
    ],
  },
  tools: {
    messages: [question],
    tools: [{ name: sentinel, description: "", parameters: { type: "object", properties: {} } }],
  },
};
