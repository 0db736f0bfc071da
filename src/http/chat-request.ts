import type { Sampling } from "../engine/engine.ts";
import type { ChatMessage, ToolCall } from "../text/messages.ts";
import { invalid, unsupported } from "./api-error.ts";
import { Fields, shown } from "./fields.ts";
import {
  maxTokensOf,
  metadataOf,
  requireModel,
  requireNeutral,
  samplingOf,
  templateVariablesOf,
  textOf,
  toolChoiceOf,
  toolsOf,
  withoutEffect,
} from "./request-fields.ts";
import { type Root, rootOf } from "./turn.ts";

export interface ChatRequest {
  root: Root;
  messages: ChatMessage[];
  maxTokens: number;
  sampling: Sampling;
  stop: string[];
  stream: boolean;
  includeUsage: boolean;
}

/** Absent, or one of these, they change no answer. */
const neutral = {
  n: [1],
  presence_penalty: [0],
  frequency_penalty: [0],
  logit_bias: [{}],
  logprobs: [false],
  top_logprobs: [0],
  response_format: [{ type: "text" }],
  modalities: [["text"]],
  parallel_tool_calls: [true],
  service_tier: ["auto", "default"],
  store: [false, true],
  audio: [],
  functions: [],
  function_call: [],
  prediction: [],
  reasoning_effort: [],
  verbosity: [],
  web_search_options: [],
  moderation: [],
};

/** Reads the body of POST /v1/chat/completions. @throws ApiError that names the first field that is wrong */
export function readChatRequest(body: unknown, served: string, entropy: () => bigint): ChatRequest {
  const fields = new Fields(body);
  requireModel(fields, served);
  requireNeutral(fields, neutral);
  const list = fields.required("messages", fields.list("messages"));
  if (list.length === 0) throw invalid("messages", "'messages' is empty: there is nothing to answer");
  const offered = toolsOf(fields, true);
  const tools = toolChoiceOf(fields) === "none" ? [] : offered;
  const maxTokens = maxTokensOf(fields, "max_completion_tokens", "max_tokens");
  const { sampling } = samplingOf(fields, entropy);
  const stop = stopOf(fields);
  const stream = fields.boolean("stream") ?? false;
  const includeUsage = streamOptionsOf(fields, stream);
  metadataOf(fields);
  const variables = templateVariablesOf(fields);
  fields.ignore(...withoutEffect);
  fields.refuseOthers();
  return { ...rootOf(list.map(messageOf), { tools, variables }), maxTokens, sampling, stop, stream, includeUsage };
}

function stopOf(fields: Fields): string[] {
  const value = fields.take("stop");
  if (value === undefined) return [];
  const stops: unknown[] = Array.isArray(value) ? value : [value];
  if (stops.length > 4) throw invalid("stop", `'stop' holds ${stops.length} texts; at most 4 are allowed`);
  return stops.map((stop) => {
    if (typeof stop === "string" && stop !== "" && stop.length <= 1024) return stop;
    throw invalid("stop", `'stop' must be one or more texts of 1 to 1024 characters, not ${shown(stop)}`);
  });
}

function streamOptionsOf(fields: Fields, stream: boolean): boolean {
  const options = fields.object("stream_options");
  if (options === undefined) return false;
  if (!stream) throw invalid("stream_options", "'stream_options' is only for 'stream': true");
  const includeUsage = options.boolean("include_usage") ?? false;
  options.ignore("include_obfuscation");
  options.refuseOthers();
  return includeUsage;
}

function messageOf(value: unknown, index: number): ChatMessage {
  const fields = new Fields(value, `messages[${index}]`);
  const role = fields.required("role", fields.string("role"));
  const content = () => {
    const given = fields.required("content", fields.take("content"));
    return textOf(given, fields.pathOf("content"), ["text"]);
  };
  // OpenAI lets messages name their author; templates have no place for it.
  const message = ((): ChatMessage => {
    switch (role) {
      case "system":
      case "developer":
        return { role: "system", content: content() };
      case "user":
        return { role, content: content() };
      case "assistant":
        return assistantOf(fields);
      case "tool":
        return {
          role,
          content: content(),
          toolCallId: fields.required("tool_call_id", fields.string("tool_call_id")),
        };
      default:
        throw invalid(
          fields.pathOf("role"),
          `'${fields.pathOf("role")}' must be system, developer, user, assistant or tool, not ${shown(role)}`,
        );
    }
  })();
  fields.refuseOthers();
  return message;
}

function assistantOf(fields: Fields): ChatMessage {
  requireNeutral(fields, { audio: [], function_call: [], refusal: [] });
  fields.ignore("annotations");
  const given = fields.take("content");
  const content = given === undefined ? "" : textOf(given, fields.pathOf("content"), ["text"]);
  const reasoning = fields.string("reasoning_content");
  const calls = fields.list("tool_calls") ?? [];
  const toolCalls = calls.map((call, index) =>
    toolCallOf(new Fields(call, `${fields.pathOf("tool_calls")}[${index}]`)),
  );
  return {
    role: "assistant",
    content,
    ...(reasoning === undefined ? {} : { reasoning }),
    ...(toolCalls.length === 0 ? {} : { toolCalls }),
  };
}

function toolCallOf(fields: Fields): ToolCall {
  const type = fields.string("type") ?? "function";
  if (type !== "function") throw unsupported(fields.pathOf("type"), `${shown(type)} is no function`);
  const called = fields.required("function", fields.object("function"));
  const call = {
    id: fields.required("id", fields.string("id")),
    name: called.required("name", called.string("name")),
    arguments: called.required("arguments", called.string("arguments")),
  };
  fields.ignore("index");
  called.refuseOthers();
  fields.refuseOthers();
  return call;
}
