import type { Log } from "../host/log.ts";
import { type Answer, type Answerer, mapped, type Outcome, outcomeOf } from "./answer.ts";
import { apiErrorOf, shuttingDown } from "./api-error.ts";
import type { Call } from "./call.ts";
import { readChatRequest } from "./chat-request.ts";
import { eventStream } from "./event-stream.ts";
import { newId } from "./ids.ts";

export interface ChatParts {
  answerer: Answerer;
  modelId: string;
  log: Log;
  entropy: () => bigint;
  /** Wall clock, in seconds. */
  nowS: () => number;
}

/** POST /v1/chat/completions */
export async function createChatCompletion(parts: ChatParts, call: Call): Promise<Response> {
  const { answerer, modelId } = parts;
  const request = readChatRequest(await call.body(), modelId, parts.entropy);
  const question = { ...request, after: undefined };
  const plan = answerer.plan(question);
  const head = { id: newId("chatcmpl"), created: parts.nowS(), model: modelId };
  const answer = answerer.answer(question, plan, call);
  if (request.stream) {
    const failed = (error: unknown) => `data: ${JSON.stringify(apiErrorOf(error, parts.log).body)}\n\n`;
    return await eventStream(call, chunks(answer, head, request.includeUsage), failed);
  }

  const outcome = await outcomeOf(answer);
  if (outcome.finish === "cancelled") throw shuttingDown();
  const { content, reasoning, toolCalls } = outcome.message;
  const message = {
    role: "assistant",
    content: content === "" && toolCalls !== undefined ? null : content,
    refusal: null,
    ...(reasoning === undefined ? {} : { reasoning_content: reasoning }),
    ...(toolCalls === undefined ? {} : { tool_calls: toolCalls.map(toolCallOnWire) }),
  };
  const choice = { index: 0, message, logprobs: null, finish_reason: finishReason(outcome) };
  return Response.json({ ...head, object: "chat.completion", choices: [choice], ...accounts(outcome) });
}

type Head = { id: string; created: number; model: string };

/** The chunks of a stream, each one a `data:` line. */
async function* chunks(answer: Answer, head: Head, includeUsage: boolean): AsyncGenerator<string, void> {
  const say = (fields: object) =>
    `data: ${JSON.stringify({ ...head, object: "chat.completion.chunk", ...fields, ...(includeUsage && !("usage" in fields) ? { usage: null } : {}) })}\n\n`;
  const choice = (delta: object, finish: string | null = null) =>
    say({ choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }] });
  let calls = 0;
  const outcome = yield* mapped(answer, (part) => {
    if (part.type === "seated") return choice({ role: "assistant", content: "", refusal: null });
    if (part.type === "call") return choice({ tool_calls: [{ index: calls++, ...toolCallOnWire(part.call) }] });
    return choice(part.type === "text" ? { content: part.text } : { reasoning_content: part.text });
  });
  if (outcome.finish === "cancelled") throw shuttingDown();
  yield choice({}, finishReason(outcome));
  if (includeUsage) yield say({ choices: [], ...accounts(outcome) });
  yield "data: [DONE]\n\n";
}

function toolCallOnWire({ id, name, arguments: text }: { id: string; name: string; arguments: string }) {
  return { id, type: "function", function: { name, arguments: text } };
}

function finishReason({ finish, message }: Outcome): string {
  return finish === "stop" && message.toolCalls !== undefined ? "tool_calls" : finish;
}

function accounts({ usage }: Outcome) {
  return {
    usage: {
      prompt_tokens: usage.inputTokens,
      completion_tokens: usage.outputTokens,
      total_tokens: usage.inputTokens + usage.outputTokens,
      prompt_tokens_details: { cached_tokens: usage.cachedTokens, audio_tokens: 0 },
      completion_tokens_details: {
        reasoning_tokens: usage.reasoningTokens,
        audio_tokens: 0,
        accepted_prediction_tokens: 0,
        rejected_prediction_tokens: 0,
      },
    },
  };
}
