import type { Tool } from "../text/messages.ts";
import { invalid, unsupported } from "./api-error.ts";
import { Fields } from "./fields.ts";
import { type FindItem, type Item, readInput } from "./items.ts";
import {
  maxTokensOf,
  metadataOf,
  requireModel,
  requireNeutral,
  type SamplingFields,
  samplingOf,
  templateVariablesOf,
  toolChoiceOf,
  toolsOf,
  withoutEffect,
} from "./request-fields.ts";

export interface ResponseRequest extends SamplingFields {
  input: Item[];
  instructions: string | undefined;
  previousResponseId: string | undefined;
  conversationId: string | undefined;
  /** Absent in the request: the default applies. */
  maxOutputTokens: number | undefined;
  maxTokens: number;
  metadata: Record<string, string>;
  tools: Tool[];
  toolChoice: "auto" | "none";
  variables: Record<string, unknown>;
  store: boolean;
  stream: boolean;
}

/** Absent, or one of these, they change no answer. */
const neutral = {
  background: [false],
  include: [[]],
  parallel_tool_calls: [true],
  service_tier: ["auto", "default"],
  // A session keeps its first and last tokens: it drops the ones between them, and never refuses.
  truncation: ["auto"],
  reasoning: [{}],
  top_logprobs: [0],
  access_programs: [],
  context_management: [[]],
  image: [],
  max_tool_calls: [],
  moderation: [],
  prompt: [],
};

/** Reads the body of POST /v1/responses. @throws ApiError that names the first field that is wrong */
export function readResponseRequest(
  body: unknown,
  served: string,
  entropy: () => bigint,
  find: FindItem,
): ResponseRequest {
  const fields = new Fields(body);
  requireModel(fields, served);
  requireNeutral(fields, neutral);
  const maxOutputTokens = fields.integer("max_output_tokens", 1, 2 ** 32 - 1);
  const previousResponseId = fields.string("previous_response_id");
  const conversationId = conversationOf(fields);
  if (previousResponseId !== undefined && conversationId !== undefined) {
    throw invalid("conversation", "give 'previous_response_id' or 'conversation', not both", "mutually_exclusive");
  }
  const stream = fields.boolean("stream") ?? false;
  requireTextFormat(fields);
  const streamOptions = fields.object("stream_options");
  streamOptions?.ignore("include_obfuscation");
  streamOptions?.refuseOthers();
  const request = {
    input: readInput(fields.take("input") ?? [], "input", find),
    instructions: fields.string("instructions"),
    previousResponseId,
    conversationId,
    maxOutputTokens,
    maxTokens: maxOutputTokens ?? maxTokensOf(fields),
    metadata: metadataOf(fields),
    tools: toolsOf(fields, false),
    toolChoice: toolChoiceOf(fields),
    variables: templateVariablesOf(fields),
    store: fields.boolean("store") ?? true,
    stream,
    ...samplingOf(fields, entropy),
  };
  fields.ignore(...withoutEffect);
  fields.refuseOthers();
  return request;
}

function conversationOf(fields: Fields): string | undefined {
  const value = fields.take("conversation");
  if (value === undefined || typeof value === "string") return value;
  const conversation = new Fields(value, "conversation");
  const id = conversation.required("id", conversation.string("id"));
  conversation.refuseOthers();
  return id;
}

function requireTextFormat(fields: Fields): void {
  const text = fields.object("text");
  if (text === undefined) return;
  requireNeutral(text, { verbosity: [] });
  const format = text.object("format");
  if (format !== undefined) {
    const type = format.required("type", format.string("type"));
    if (type !== "text") throw unsupported("text.format.type", "the model writes plain text; give 'text'");
    format.refuseOthers();
  }
  text.refuseOthers();
}
