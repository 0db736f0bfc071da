/** Conversations in text with kakeya servers, for Bun and Node.js 20 or later. */
export { ModelError } from "../checkpoint/model-error.ts";
export type { AnswerEvent } from "../text/answer-parser.ts";
export type { ChatMessage, Tool, ToolCall } from "../text/messages.ts";
export { TemplateError } from "../text/template-error.ts";
export { type Answer, Chat, type ChatOptions, type SendOptions } from "./chat.ts";
