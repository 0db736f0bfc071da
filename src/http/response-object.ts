import type { Outcome, Usage } from "./answer.ts";
import { newId } from "./ids.ts";
import type { Item } from "./items.ts";
import type { ResponseRequest } from "./response-request.ts";

export type ResponseStatus = "in_progress" | "completed" | "incomplete" | "cancelled" | "failed";

/** A response as it is on the wire. */
export type ResponseObject = ReturnType<typeof newResponse>;

export function newResponse(request: ResponseRequest, modelId: string, createdAtS: number) {
  return {
    id: newId("resp"),
    object: "response" as const,
    created_at: createdAtS,
    completed_at: null as number | null,
    status: "in_progress" as ResponseStatus,
    background: false,
    error: null as { code: string; message: string } | null,
    incomplete_details: null as { reason: "max_output_tokens" } | null,
    instructions: request.instructions ?? null,
    max_output_tokens: request.maxOutputTokens ?? null,
    max_tool_calls: null,
    metadata: request.metadata,
    model: modelId,
    output: [] as Item[],
    parallel_tool_calls: true,
    previous_response_id: request.previousResponseId ?? null,
    conversation: request.conversationId === undefined ? null : { id: request.conversationId },
    prompt_cache_key: null,
    reasoning: { effort: null, summary: null },
    safety_identifier: null,
    service_tier: "default",
    store: request.store,
    temperature: request.temperature,
    text: { format: { type: "text" } },
    tool_choice: request.toolChoice,
    tools: request.tools.map(({ name, description, parameters }) => ({
      type: "function",
      name,
      description: description ?? null,
      parameters: parameters ?? null,
      strict: false,
    })),
    top_logprobs: 0,
    top_p: request.topP,
    truncation: "auto",
    usage: null as ReturnType<typeof usageOnWire> | null,
    user: null,
    /** Our own field: what the turn did to its session. */
    kakeya: null as ReturnType<typeof sessionOnWire> | null,
  };
}

/** The response once its answer has ended. */
export function finished(
  response: ResponseObject,
  output: readonly Item[],
  outcome: Outcome,
  nowS: number,
): ResponseObject {
  const status = ({ stop: "completed", length: "incomplete", cancelled: "cancelled" } as const)[outcome.finish];
  return {
    ...response,
    status,
    completed_at: status === "completed" ? nowS : null,
    incomplete_details: status === "incomplete" ? { reason: "max_output_tokens" } : null,
    output: [...output],
    usage: usageOnWire(outcome.usage),
    kakeya: sessionOnWire(outcome),
  };
}

function usageOnWire({ inputTokens, cachedTokens, outputTokens, reasoningTokens }: Usage) {
  return {
    input_tokens: inputTokens,
    input_tokens_details: { cached_tokens: cachedTokens },
    output_tokens: outputTokens,
    output_tokens_details: { reasoning_tokens: reasoningTokens },
    total_tokens: inputTokens + outputTokens,
  };
}

/** Figures that no other runtime has. */
export function sessionOnWire({ session, usage, firstTokenS, totalS }: Outcome) {
  return {
    history_tokens: session.historyTokens,
    kv_live_bytes: session.liveBytes,
    kv_slab_bytes: session.slabBytes,
    computed_tokens: usage.inputTokens - usage.cachedTokens + usage.outputTokens,
    first_token_seconds: firstTokenS,
    total_seconds: totalS,
  };
}
