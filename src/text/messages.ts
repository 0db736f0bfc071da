/** A function the model asks for. */
export interface ToolCall {
  id: string;
  name: string;
  /** A JSON object, as the model wrote it. */
  arguments: string;
}

/** What a conversation is made of, and what a chat template renders. */
export type ChatMessage =
  | { role: "system" | "user"; content: string }
  | { role: "assistant"; content: string; reasoning?: string; toolCalls?: readonly ToolCall[] }
  /** The result of one call; `name` is the function's. */
  | { role: "tool"; content: string; toolCallId: string; name?: string };

/** A function the model may call. `parameters` is a JSON schema. */
export interface Tool {
  name: string;
  description?: string;
  parameters?: Readonly<Record<string, unknown>>;
}
