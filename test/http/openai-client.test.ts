/** OpenAI's own client, unmodified, against a real server with a real model. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import OpenAI from "openai";
import type { ResponseStreamEvent } from "openai/resources/responses/responses";
import { eventually } from "../eventually.ts";
import { rejection } from "../rejection.ts";
import { testEngine } from "../serve/serving.ts";
import { type HttpServing, servingHttp, withoutEnd } from "./serving-http.ts";

let server: HttpServing;
let openai: OpenAI;
beforeAll(async () => {
  server = await servingHttp();
  openai = server.openai();
});
afterAll(() => server[Symbol.asyncDispose]());

const model = "kakeya-tiny";
const answer = "Hello! Ask me about sessions, caches or latency.";
const hello = { role: "user" as const, content: "hello" };
const greedy = { model, temperature: 0 };

async function eventsOf(stream: AsyncIterable<ResponseStreamEvent>): Promise<ResponseStreamEvent[]> {
  const events: ResponseStreamEvent[] = [];
  for await (const event of stream) events.push(event);
  return events;
}

async function apiError(work: Promise<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> {
  const error = await rejection(work);
  if (error instanceof OpenAI.APIError) return error;
  throw error;
}

test("models are listed, and found by name", async () => {
  const { data } = await openai.models.list();
  expect(data.map(({ id }) => id)).toEqual([model]);
  expect((await openai.models.retrieve(model)).owned_by).toBe("kakeya");
  expect((await apiError(openai.models.retrieve("gpt-4"))).status).toBe(404);
});

describe("chat completions", () => {
  test("answer", async () => {
    const completion = await openai.chat.completions.create({ ...greedy, messages: [hello] });
    expect(completion.choices).toMatchObject([
      { index: 0, message: { role: "assistant", content: answer }, finish_reason: "stop" },
    ]);
    expect(completion.usage).toMatchObject({ prompt_tokens: 11, completion_tokens: 12, total_tokens: 23 });
  });

  test("stream the same answer, and say what it took where that is asked for", async () => {
    const request = { ...greedy, messages: [hello], stream: true as const };
    let text = "";
    const finishes: (string | null)[] = [];
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of await openai.chat.completions.create({
      ...request,
      stream_options: { include_usage: true },
    })) {
      text += chunk.choices[0]?.delta.content ?? "";
      finishes.push(...chunk.choices.map(({ finish_reason }) => finish_reason).filter((reason) => reason !== null));
      usage = chunk.usage;
    }
    expect([text, finishes, usage?.completion_tokens]).toEqual([answer, ["stop"], 12]);
    for await (const chunk of await openai.chat.completions.create(request)) expect(chunk).not.toHaveProperty("usage");
  });

  test("end at a limit and at a stop string, and go on from there", async () => {
    const limited = await openai.chat.completions.create({ ...greedy, messages: [hello], max_completion_tokens: 3 });
    expect(limited.choices[0]).toMatchObject({ message: { content: "Hello! Ask" }, finish_reason: "length" });
    const stopped = await openai.chat.completions.create({ ...greedy, messages: [hello], stop: ["x", " sess"] });
    expect(stopped.choices[0]).toMatchObject({ message: { content: "Hello! Ask me about" }, finish_reason: "stop" });
    const next = await openai.chat.completions.create({
      ...greedy,
      messages: [hello, { role: "assistant", content: "Hello! Ask me about" }, hello],
    });
    expect(next.usage?.prompt_tokens_details?.cached_tokens).toBeGreaterThan(11);
  });

  test("with the same seed are the same, with another one are not", async () => {
    const say = async (seed: number) => {
      const request = { model, temperature: 2, seed, messages: [hello], max_tokens: 20 };
      return (await openai.chat.completions.create(request)).choices[0]?.message.content;
    };
    expect(await say(7)).toBe((await say(7)) ?? "");
    expect(await say(7)).not.toBe((await say(8)) ?? "");
  });

  test("that are sent again with more compute only what is new", async () => {
    const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: "user", content: "what is a session?" }];
    let history = 0;
    for (let turn = 0; turn < 4; turn++) {
      const { choices, usage } = await openai.chat.completions.create({ ...greedy, messages });
      expect(usage?.prompt_tokens_details?.cached_tokens).toBe(history);
      history = usage?.total_tokens ?? 0;
      messages.push(choices[0]?.message ?? hello, { role: "user", content: `and ${turn}?` });
    }
  });
});

describe("responses", () => {
  test("answer, and can be read and deleted afterwards", async () => {
    const response = await openai.responses.create({ ...greedy, input: "hello", metadata: { a: "b" } });
    expect(response).toMatchObject({ status: "completed", output_text: answer, metadata: { a: "b" } });
    expect(await openai.responses.retrieve(response.id)).toMatchObject({ id: response.id, output_text: answer });
    const input = await openai.responses.inputItems.list(response.id);
    expect(input.data).toMatchObject([{ role: "user", content: [{ type: "input_text", text: "hello" }] }]);
    await openai.responses.delete(response.id);
    expect((await apiError(openai.responses.retrieve(response.id))).status).toBe(404);
    const continued = openai.responses.create({ ...greedy, input: "x", previous_response_id: response.id });
    expect(await apiError(continued)).toMatchObject({ status: 400, param: "previous_response_id" });
  });

  test("that are not to be stored are not", async () => {
    const response = await openai.responses.create({ ...greedy, input: "hello", store: false });
    expect((await apiError(openai.responses.retrieve(response.id))).status).toBe(404);
  });

  test("stream in the specification's order", async () => {
    const events = await eventsOf(await openai.responses.create({ ...greedy, input: "hello", stream: true }));
    expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, index) => index));
    const types = events.map(({ type }) => type);
    const text = "response.output_text.delta";
    expect(types.filter((type, index) => type !== text || types[index - 1] !== text)).toEqual([
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.content_part.added",
      text,
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.completed",
    ]);
    expect(events.map((event) => (event.type === text ? event.delta : "")).join("")).toBe(answer);
    const last = events.at(-1);
    expect(last?.type === "response.completed" && last.response.usage?.output_tokens).toBe(12);
  });

  test("are put together by the client's own stream reader", async () => {
    const stream = openai.responses.stream({ ...greedy, input: "hello" });
    expect((await stream.finalResponse()).output_text).toBe(answer);
  });

  test("that reach their limit are incomplete", async () => {
    const response = await openai.responses.create({ ...greedy, input: "hello", max_output_tokens: 3 });
    expect(response).toMatchObject({
      status: "incomplete",
      incomplete_details: { reason: "max_output_tokens" },
      output: [{ type: "message", status: "incomplete" }],
    });
  });

  test("go on from the one before, and compute only what is new", async () => {
    const first = await openai.responses.create({ ...greedy, input: "hello" });
    const second = await openai.responses.create({ ...greedy, input: "more?", previous_response_id: first.id });
    expect(second.usage?.input_tokens_details.cached_tokens).toBe(first.usage?.total_tokens ?? 0);
    // The session has gone on: an older response is continued in another one, with the same outcome.
    const again = await openai.responses.create({ ...greedy, input: "more?", previous_response_id: first.id });
    expect(again.output_text).toBe(second.output_text);
    expect(again.usage?.input_tokens).toBe(second.usage?.input_tokens ?? 0);
  });

  test("don't carry instructions over, but do system messages", async () => {
    const ask = (fields: object) => openai.responses.create({ ...greedy, input: "hello", ...fields });
    const tokens = async (fields: object) => (await ask(fields)).usage?.input_tokens ?? 0;
    const instructed = await ask({ instructions: "Be brief." });
    const plain = await ask({ input: "hello" });
    const said = await ask({ input: [{ role: "developer", content: "Be brief." }, hello] });
    expect(said.usage?.input_tokens).toBe(instructed.usage?.input_tokens ?? 0);
    const after = (id: string) => ({ previous_response_id: id });
    expect(await tokens(after(instructed.id))).toBe(await tokens(after(plain.id)));
    expect(await tokens({ ...after(instructed.id), instructions: "Be brief." })).toBe(await tokens(after(said.id)));
  });
});

describe("conversations", () => {
  test("hold what was said in them, and go on", async () => {
    const item = { type: "message", role: "user", content: "My name is Ada." } as const;
    const conversation = await openai.conversations.create({ metadata: { topic: "names" }, items: [item] });
    const first = await openai.responses.create({ ...greedy, input: "hello", conversation: conversation.id });
    const second = await openai.responses.create({ ...greedy, input: "more?", conversation: { id: conversation.id } });
    expect(second.conversation?.id).toBe(conversation.id);
    expect(second.usage?.input_tokens_details.cached_tokens).toBe(first.usage?.total_tokens ?? 0);
    const items = [];
    for await (const one of openai.conversations.items.list(conversation.id, { order: "asc", limit: 2 })) {
      items.push(one.type === "message" ? one.role : one.type);
    }
    expect(items).toEqual(["user", "user", "assistant", "user", "assistant"]);
  });

  test("are changed and deleted", async () => {
    const { id } = await openai.conversations.create();
    expect((await openai.conversations.update(id, { metadata: { a: "1" } })).metadata).toEqual({ a: "1" });
    const added = await openai.conversations.items.create(id, { items: [{ role: "user", content: "x" }] });
    const itemId = added.data[0]?.id ?? "";
    expect((await openai.conversations.items.retrieve(itemId, { conversation_id: id })).type).toBe("message");
    await openai.conversations.items.delete(itemId, { conversation_id: id });
    expect((await openai.conversations.items.list(id)).data).toEqual([]);
    expect(await openai.conversations.delete(id)).toMatchObject({ id, deleted: true });
    expect((await apiError(openai.conversations.retrieve(id))).status).toBe(404);
    expect((await apiError(openai.responses.create({ ...greedy, input: "x", conversation: id }))).status).toBe(404);
  });

  test("go on when their responses are deleted", async () => {
    const { id } = await openai.conversations.create();
    const first = await openai.responses.create({ ...greedy, input: "hello", conversation: id });
    await openai.responses.delete(first.id);
    const second = await openai.responses.create({ ...greedy, input: "more?", conversation: id });
    expect(second.usage?.input_tokens_details.cached_tokens).toBe(first.usage?.total_tokens ?? 0);
    expect((await openai.conversations.items.list(id)).data).toHaveLength(4);
  });

  test("don't forget what was answered", async () => {
    const { id } = await openai.conversations.create();
    await openai.responses.create({ ...greedy, input: "hello", conversation: id });
    const [item] = (await openai.conversations.items.list(id)).data;
    const error = await apiError(openai.conversations.items.delete(item?.id ?? "", { conversation_id: id }));
    expect(error).toMatchObject({ status: 400 });
    expect(error.message).toContain("a session can't forget it");
  });
});

describe("aborts", () => {
  let endless: HttpServing;
  beforeAll(async () => {
    endless = await servingHttp({ engine: withoutEnd(await testEngine()) });
  });
  afterAll(async () => {
    await endless[Symbol.asyncDispose]();
    await endless.engine.close();
  });
  const request = { model, input: "hello", max_output_tokens: 1_000_000, stream: true } as const;

  test("of a stream end the generation, and the conversation goes on from what was said", async () => {
    const client = endless.openai();
    const { id } = await client.conversations.create();
    const stream = await client.responses.create({ ...request, conversation: id });
    for await (const event of stream) if (event.type === "response.output_text.delta") break;
    const next = () => client.responses.create({ ...greedy, input: "and?", conversation: id, max_output_tokens: 1 });
    const response = await eventually("the conversation's end of the stream", async () => {
      const response = await next().catch((error: unknown) => error);
      if (response instanceof OpenAI.APIError && response.status === 409) return undefined;
      if (response instanceof Error) throw response;
      return response as OpenAI.Responses.Response;
    });
    expect(response.usage?.input_tokens_details.cached_tokens).toBeGreaterThan(11);
  });

  test("by another request cancel a response that is under way", async () => {
    const client = endless.openai();
    const events: ResponseStreamEvent[] = [];
    let id = "";
    for await (const event of await client.responses.create(request)) {
      events.push(event);
      if (event.type === "response.created") id = event.response.id;
      if (events.length === 5) expect((await client.responses.cancel(id)).status).toBe("cancelled");
    }
    expect(events.at(-1)?.type).toBe("response.incomplete");
    expect((await client.responses.retrieve(id)).status).toBe("cancelled");
    expect((await apiError(client.responses.cancel(id))).status).toBe(400);
  });
});
