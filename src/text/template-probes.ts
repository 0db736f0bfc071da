/** Small conversations that show what a chat template writes, and what it silently leaves out. */

import type { ChatMessage, Tool } from "./messages.ts";

/** A text that no template changes. */
export const sentinel = "kakeyaSentinel";

export type Probe = "a system message" | "tools";

const question = { role: "user", content: "?" } as const;

/** Each with the sentinel in the part that it asks about. */
export const probes: Readonly<Record<Probe, { messages: ChatMessage[]; tools?: Tool[] }>> = {
  "a system message": { messages: [{ role: "system", content: sentinel }, question] },
  tools: {
    messages: [question],
    tools: [{ name: sentinel, description: "", parameters: { type: "object", properties: {} } }],
  },
};

/** A call with the sentinel as the name of an argument. */
export const callProbe: readonly ChatMessage[] = [
  question,
  { role: "assistant", content: "", toolCalls: [{ id: "call00000", name: "f", arguments: `{"${sentinel}": 1}` }] },
];
