/** With --state, conversations outlive a server that is killed in the middle of an answer. */
import { expect, test } from "bun:test";
import { statSync } from "node:fs";
import { join } from "node:path";
import OpenAI from "openai";
import { rejection } from "../rejection.ts";
import { scratchDir } from "../scratch.ts";
import { type Served, serve } from "../serve/serve-process.ts";

const model = "kakeya-tiny";
const greedy = { model, temperature: 0 };

function clientOf(server: Served): OpenAI {
  return new OpenAI({ baseURL: `${server.ready.http_url}/v1`, apiKey: "none", maxRetries: 0 });
}

test("previous_response_id, conversations and chat completions go on bit by bit after kill -9", async () => {
  using scratch = scratchDir();
  const state = join(scratch.path, "state");
  const flags = ["--http", "127.0.0.1:0", "--state", state];
  await using first = await serve(...flags);
  const before = clientOf(first);
  const one = await before.responses.create({ ...greedy, input: "what is a session?" });
  const conversation = await before.conversations.create({ metadata: { a: "b" } });
  const said = { ...greedy, conversation: conversation.id };
  await before.responses.create({ ...said, input: "what is a cache?" });
  const hello = { role: "user" as const, content: "hello" };
  const chat = await before.chat.completions.create({ ...greedy, messages: [hello] });
  const deleted = await before.responses.create({ ...greedy, input: "hello" });
  await before.responses.delete(deleted.id);

  const next = { ...greedy, input: "how long does it live?", previous_response_id: one.id };
  const stream = await before.responses.create({ ...next, stream: true });
  for await (const event of stream) {
    if (event.type !== "response.output_text.delta") continue;
    first.process.kill("SIGKILL");
    break;
  }
  await first.process.exited;

  await using second = await serve(...flags);
  const after = clientOf(second);
  await using other = await serve("--http", "127.0.0.1:0");
  const fresh = clientOf(other);
  const expectedOne = await fresh.responses.create({ ...greedy, input: "what is a session?" });
  const expected = await fresh.responses.create({ ...next, previous_response_id: expectedOne.id });

  expect((await after.responses.retrieve(one.id)).output_text).toBe(one.output_text);
  const continued = await after.responses.create(next);
  expect(continued.output_text).toBe(expected.output_text);
  expect(continued.usage?.total_tokens).toBe(expected.usage?.total_tokens ?? 0);

  expect((await after.conversations.retrieve(conversation.id)).metadata).toEqual({ a: "b" });
  const more = await after.responses.create({ ...said, input: "and?" });
  expect(more.usage?.input_tokens).toBeGreaterThan(30);
  const roles = (await after.conversations.items.list(conversation.id, { order: "asc" })).data;
  expect(roles.map((item) => (item.type === "message" ? item.role : item.type))).toEqual([
    "user",
    "assistant",
    "user",
    "assistant",
  ]);

  const answer = chat.choices[0]?.message ?? hello;
  const again = await after.chat.completions.create({ ...greedy, messages: [hello, answer, hello] });
  const anew = await fresh.chat.completions.create({ ...greedy, messages: [hello, answer, hello] });
  expect(again.choices[0]?.message.content).toBe(anew.choices[0]?.message.content ?? "");
  expect(again.usage?.prompt_tokens).toBe(anew.usage?.prompt_tokens ?? 0);

  expect(await rejection(after.responses.retrieve(deleted.id))).toMatchObject({ status: 404 });
  expect(statSync(join(state, "text.db")).mode & 0o777).toBe(0o600);
}, 120_000);

test("a conversation goes on after an orderly stop, too, and its history is not computed for it again", async () => {
  using scratch = scratchDir();
  const flags = ["--http", "127.0.0.1:0", "--state", join(scratch.path, "state")];
  await using first = await serve(...flags);
  const one = await clientOf(first).responses.create({ ...greedy, input: "what is a session?" });
  first.process.kill("SIGTERM");
  await first.process.exited;
  await using second = await serve(...flags);
  const two = await clientOf(second).responses.create({ ...greedy, input: "and?", previous_response_id: one.id });
  expect(two.usage?.input_tokens_details.cached_tokens).toBe(one.usage?.total_tokens ?? Number.NaN);
}, 120_000);
