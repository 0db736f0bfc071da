/** Calls and thinking, with Qwen3's own tokenizer and template, and a model that says what it is told. */
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { cpSync } from "node:fs";
import { join } from "node:path";
import type OpenAI from "openai";
import type { Engine } from "../../src/engine/engine.ts";
import { loadTokenizer, type Tokenizer } from "../../src/text/tokenizer.ts";
import { presets, writeRandomCheckpoint } from "../../tools/random-checkpoint.ts";
import { scratchDir } from "../scratch.ts";
import { testEngine } from "../serve/serving.ts";
import { modelDirs } from "../text/real-models.ts";
import { dictated } from "./dictated.ts";
import { type HttpServing, servingHttp } from "./serving-http.ts";

const scratch = scratchDir();
const dir = join(scratch.path, "qwen3");
let engine: Engine;
let tokenizer: Tokenizer;
let server: HttpServing;
let openai: OpenAI;
let answers: string[];
beforeAll(async () => {
  const config = {
    ...presets["qwen3-0.6b"],
    hidden_size: 64,
    intermediate_size: 64,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    head_dim: 32,
  };
  writeRandomCheckpoint(dir, { config, seed: 1 });
  cpSync(modelDirs.qwen3 ?? "", dir, { recursive: true });
  tokenizer = loadTokenizer(dir);
  engine = await testEngine({ model: dir, window: 1024 });
  const next = () => tokenizer.encode(`${answers.shift()}<|im_end|>`);
  server = await servingHttp({ engine: dictated(engine, next) });
  openai = server.openai();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await engine.close();
  scratch[Symbol.dispose]();
});
beforeEach(() => {
  answers = [
    '<think>\nThe weather.\n</think>\n\nLet me look.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>',
    "<think>\n\n</think>\n\nIt is sunny.",
  ];
});

const parameters = { type: "object", properties: { city: { type: "string" } } };
const question = { role: "user" as const, content: "How is Paris?" };

test("chat completions call a function and go on with its result, in the same session", async () => {
  const tools = [{ type: "function" as const, function: { name: "weather", parameters } }];
  const request = { model: "qwen3", temperature: 0, tools };
  const first = await openai.chat.completions.create({ ...request, messages: [question] });
  expect(first.choices[0]).toMatchObject({
    finish_reason: "tool_calls",
    message: {
      content: "Let me look.",
      reasoning_content: "The weather.",
      tool_calls: [{ type: "function", function: { name: "weather", arguments: '{"city": "Paris"}' } }],
    },
  });
  expect(first.usage?.completion_tokens_details?.reasoning_tokens).toBeGreaterThan(2);
  const { message } = first.choices[0] ?? {};
  const [call] = message?.tool_calls ?? [];
  if (message === undefined || call === undefined) throw new Error("no call");
  const result = { role: "tool" as const, tool_call_id: call.id, content: "sunny" };
  const second = await openai.chat.completions.create({ ...request, messages: [question, message, result] });
  expect(second.choices[0]).toMatchObject({ finish_reason: "stop", message: { content: "It is sunny." } });
  // The thinking stays in the session, though the client does not send it again.
  expect(second.usage?.prompt_tokens_details?.cached_tokens).toBe(first.usage?.total_tokens ?? 0);
});

test("the client's own loop runs the function", async () => {
  const asked: string[] = [];
  const run = (args: string) => {
    asked.push(args);
    return "sunny";
  };
  const runner = openai.chat.completions.runTools({
    model: "qwen3",
    stream: true,
    messages: [question],
    tools: [{ type: "function", function: { name: "weather", function: run, parameters, description: "" } }],
  });
  expect(await runner.finalContent()).toBe("It is sunny.");
  expect(asked).toEqual(['{"city": "Paris"}']);
});

test("responses call a function, each part an item of its own, and go on with its result", async () => {
  const tools = [{ type: "function" as const, name: "weather", parameters, strict: true }];
  const request = { model: "qwen3", tools, temperature: 0 };
  const types: string[] = [];
  let response: OpenAI.Responses.Response | undefined;
  for await (const event of await openai.responses.create({ ...request, input: [question], stream: true })) {
    if (!event.type.endsWith(".delta")) types.push(event.type.replace("response.", ""));
    if (event.type === "response.completed") response = event.response;
  }
  const part = (text: string) => ["output_item.added", "content_part.added", `${text}.done`, "content_part.done"];
  expect(types).toEqual([
    "created",
    "in_progress",
    ...part("reasoning_text"),
    "output_item.done",
    ...part("output_text"),
    "output_item.done",
    "output_item.added",
    "function_call_arguments.done",
    "output_item.done",
    "completed",
  ]);
  expect(response?.output.map(({ type }) => type)).toEqual(["reasoning", "message", "function_call"]);
  expect(response?.tools).toMatchObject([{ name: "weather", strict: false }]);
  const call = response?.output[2];
  if (response === undefined || call?.type !== "function_call") throw new Error("no call");
  const output = { type: "function_call_output" as const, call_id: call.call_id, output: "sunny" };
  const next = await openai.responses.create({ ...request, input: [output], previous_response_id: response.id });
  expect(next.output_text).toBe("It is sunny.");
  expect(next.usage?.input_tokens_details.cached_tokens).toBe(response.usage?.total_tokens ?? 0);
});

test("responses that are sent back as items find the same session", async () => {
  const tools = [{ type: "function" as const, name: "weather", parameters, strict: true }];
  const request = { model: "qwen3", tools, temperature: 0, store: false };
  const first = await openai.responses.create({ ...request, input: [question] });
  const call = first.output.find(({ type }) => type === "function_call");
  if (call?.type !== "function_call") throw new Error("no call");
  const output = { type: "function_call_output" as const, call_id: call.call_id, output: "sunny" };
  const said = first.output.flatMap((item) =>
    item.type === "reasoning" || item.type === "message" || item.type === "function_call" ? [item] : [],
  );
  const next = await openai.responses.create({ ...request, input: [question, ...said, output] });
  expect(next.usage?.input_tokens_details.cached_tokens).toBe(first.usage?.total_tokens ?? 0);
});

test("other tools than before stand at the beginning: all is computed again", async () => {
  const request = { model: "qwen3", temperature: 0 };
  const first = await openai.responses.create({ ...request, input: "hello" });
  const tools = [{ type: "function" as const, name: "weather", parameters, strict: false }];
  const next = await openai.responses.create({ ...request, tools, input: "more", previous_response_id: first.id });
  expect(next.usage?.input_tokens_details.cached_tokens).toBe(0);
  expect(next.usage?.input_tokens).toBeGreaterThan(first.usage?.total_tokens ?? Number.NaN);
});

test("variables of the template turn thinking off", async () => {
  answers = ["Sunny."];
  const request = { model: "qwen3", messages: [question], chat_template_kwargs: { enable_thinking: false } };
  const { choices } = await openai.chat.completions.create(request);
  expect(choices[0]?.message).toMatchObject({ content: "Sunny." });
});
