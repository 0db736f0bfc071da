import type { Log } from "../host/log.ts";
import { type Answer, type Answerer, mapped } from "./answer.ts";
import { ApiError, apiErrorOf, invalid, shuttingDown } from "./api-error.ts";
import type { Call } from "./call.ts";
import type { Conversation, Conversations } from "./conversation-store.ts";
import { eventStream } from "./event-stream.ts";
import { messagesOf } from "./items.ts";
import { pageOf } from "./listing.ts";
import type { Question } from "./planner.ts";
import { finished, newResponse, type ResponseObject } from "./response-object.ts";
import { ResponseOutput, type StreamEvent } from "./response-output.ts";
import type { ResponseRecords } from "./response-records.ts";
import { type ResponseRequest, readResponseRequest } from "./response-request.ts";
import { rootOf } from "./turn.ts";

export interface ResponsesParts {
  answerer: Answerer;
  records: ResponseRecords;
  conversations: Conversations;
  modelId: string;
  log: Log;
  entropy: () => bigint;
  /** Wall clock, in seconds. */
  nowS: () => number;
}

interface Ended {
  response: ResponseObject;
  /** Why it failed. */
  error?: ApiError;
}

type Events = AsyncGenerator<StreamEvent[], Ended>;

/** /v1/responses */
export class Responses {
  /** Those under way, by id. */
  readonly #running = new Map<string, { abort: () => void; ended: Promise<ResponseObject> }>();

  constructor(private readonly parts: ResponsesParts) {}

  async create(call: Call): Promise<Response> {
    const { modelId, entropy, answerer, conversations, nowS } = this.parts;
    const find = (id: string) => this.parts.records.item(id) ?? conversations.item(id);
    const request = readResponseRequest(await call.body(), modelId, entropy, find);
    const { conversationId } = request;
    const conversation = conversationId === undefined ? undefined : conversations.begin(conversationId);
    let begun = false;
    try {
      const question = this.#questionOf(request, conversation);
      const plan = answerer.plan(question);
      const response = newResponse(request, modelId, nowS());
      const answer = answerer.answer(question, plan, call);
      const events = this.#events(request, response, answer, call, conversation);
      begun = true;
      if (request.stream) return await eventStream(call, lines(events), this.#lastWords);
      const { response: last, error } = await endOf(events);
      if (error !== undefined) throw error;
      if (call.serverStops && last.status === "cancelled") throw shuttingDown();
      return Response.json(last);
    } finally {
      // Once it has begun, its events end it.
      if (!begun) conversation?.end();
    }
  }

  retrieve(call: Call): Response {
    if (call.url.searchParams.get("stream") === "true") {
      throw invalid("stream", "a stored response can't be streamed again; leave 'stream' out", "unsupported_parameter");
    }
    return Response.json(this.parts.records.get(call.param(0)).response);
  }

  delete(call: Call): Response {
    const id = call.param(0);
    const record = this.parts.records.get(id);
    this.parts.records.remove(record);
    // A conversation stands on its turns, whatever becomes of their responses.
    if (record.response.conversation === null) this.parts.answerer.forget(record.turn);
    return Response.json({ id, object: "response", deleted: true });
  }

  inputItems(call: Call): Response {
    return Response.json(pageOf(call.url.searchParams, this.parts.records.get(call.param(0)).input));
  }

  /** Ends a response that is under way; what it said by then is part of its conversation. */
  async cancel(call: Call): Promise<Response> {
    const id = call.param(0);
    const running = this.#running.get(id);
    if (running === undefined) {
      const { status } = this.parts.records.get(id).response;
      throw new ApiError(`This response is not under way: its status is '${status}'.`, {
        status: 400,
        code: "not_cancellable",
      });
    }
    running.abort();
    return Response.json(await running.ended);
  }

  #questionOf(request: ResponseRequest, conversation: Conversation | undefined): Question {
    const { instructions, previousResponseId, tools, toolChoice, variables, maxTokens, sampling } = request;
    const after =
      conversation?.turn ??
      (previousResponseId === undefined ? undefined : this.parts.records.previous(previousResponseId).turn);
    const items = [...(conversation?.pending ?? []), ...request.input];
    const messages = messagesOf(items);
    if (messages.length === 0) throw invalid("input", "'input' is empty: there is nothing to answer");
    const offered = { tools: toolChoice === "none" ? [] : tools, variables };
    const common = { maxTokens, sampling, stop: [], after };
    if (instructions !== undefined) {
      return { ...common, root: { system: instructions, systemFrom: "instructions", ...offered }, messages };
    }
    if (after === undefined) return { ...common, ...rootOf(messages, offered) };
    return { ...common, root: { system: undefined, systemFrom: "message", ...offered }, messages };
  }

  readonly #lastWords = (error: unknown): string => {
    const { message, code, param } = apiErrorOf(error, this.parts.log);
    return line({ type: "error", code, message, param, sequence_number: 0 });
  };

  /** What a response says, from its first event to its last one. An error before the first event is thrown. */
  async *#events(
    request: ResponseRequest,
    begun: ResponseObject,
    answer: Answer,
    call: Call,
    conversation: Conversation | undefined,
  ): Events {
    const { log, nowS, records } = this.parts;
    const output = new ResponseOutput();
    const ended = Promise.withResolvers<ResponseObject>();
    let isSeated = false;
    try {
      const outcome = yield* mapped(answer, (said): StreamEvent[] => {
        if (said.type !== "seated") return output.push(said);
        isSeated = true;
        this.#running.set(begun.id, { abort: () => call.abort(), ended: ended.promise });
        return [
          { type: "response.created", response: begun },
          { type: "response.in_progress", response: begun },
        ];
      });
      yield output.close(outcome.finish === "stop" ? "completed" : "incomplete");
      const response = finished(begun, output.items, outcome, nowS());
      const record = { response, input: request.input, turn: outcome.turn };
      if (request.store) records.add(record);
      conversation?.add(record);
      ended.resolve(response);
      const type = response.status === "completed" ? "response.completed" : "response.incomplete";
      yield [{ type, response }];
      return { response };
    } catch (error) {
      if (!isSeated) throw error;
      const apiError = apiErrorOf(error, log);
      const { message } = apiError;
      const response: ResponseObject = { ...begun, status: "failed", error: { code: "server_error", message } };
      ended.resolve(response);
      yield [...output.close("incomplete"), { type: "response.failed", response }];
      return { response, error: apiError };
    } finally {
      this.#running.delete(begun.id);
      conversation?.end();
    }
  }
}

/** The events as they are sent: numbered from 0, and closed as the Open Responses specification asks for. */
async function* lines(events: Events): AsyncGenerator<string, void> {
  let sequence_number = 0;
  for await (const some of events) {
    for (const { type, ...fields } of some) yield line({ type, sequence_number: sequence_number++, ...fields });
  }
  yield "data: [DONE]\n\n";
}

function line(event: StreamEvent): string {
  return `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
}

async function endOf(events: Events): Promise<Ended> {
  for (;;) {
    const { done, value } = await events.next();
    if (done) return value;
  }
}
