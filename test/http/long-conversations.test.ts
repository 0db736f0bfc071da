/** What a turn costs does not depend on what came before it, by the engine's own counts. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type OpenAI from "openai";
import { loadChatTemplate } from "../../src/text/chat-template.ts";
import { loadTokenizer } from "../../src/text/tokenizer.ts";
import { type HttpServing, servingHttp } from "./serving-http.ts";

let server: HttpServing;
let openai: OpenAI;
beforeAll(async () => {
  server = await servingHttp();
  openai = server.openai();
});
afterAll(() => server[Symbol.asyncDispose]());

const model = "kakeya-tiny";
const turns = 200;
const question = (turn: number) => `${turn % 10}: what is a session?`;

interface TurnCount {
  total: number;
  cached: number;
  /** Tokens that the engine ran for it. */
  computed: number;
}

function counted(input: number, cached: number, output: number): TurnCount {
  return { total: input + output, cached, computed: input - cached + output };
}

/** Tokens that the engine has run for all sessions there are. */
async function workOfAllSessions(): Promise<number> {
  const infos = [...server.server.store.sessions].map(({ id }) => server.server.store.info(id));
  return (await Promise.all(infos)).reduce((sum, { computedTokens }) => sum + computedTokens, 0);
}

/** Every turn has the whole history before it cached, and its cost stays that of a question and its answer. */
function expectFlat(counts: readonly TurnCount[]): void {
  expect(counts.map(({ cached }) => cached)).toEqual([0, ...counts.slice(0, -1).map(({ total }) => total)]);
  expect(Math.max(...counts.map(({ computed }) => computed))).toBeLessThan(100);
  expect(counts.at(-1)?.total).toBeGreaterThan(20 * turns);
}

async function chat(history: (messages: OpenAI.ChatCompletionMessageParam[]) => OpenAI.ChatCompletionMessageParam[]) {
  const messages: OpenAI.ChatCompletionMessageParam[] = [];
  const counts: TurnCount[] = [];
  for (let turn = 0; turn < turns; turn++) {
    messages.push({ role: "user", content: question(turn) });
    const request = { model, temperature: 0, max_tokens: 24, messages: history(messages) };
    const { choices, usage } = await openai.chat.completions.create(request);
    const cached = usage?.prompt_tokens_details?.cached_tokens ?? Number.NaN;
    counts.push(counted(usage?.prompt_tokens ?? 0, cached, usage?.completion_tokens ?? 0));
    if (choices[0] !== undefined) messages.push(choices[0].message);
  }
  return counts;
}

describe("of 200 turns each costs its own tokens", () => {
  test("by previous_response_id", async () => {
    const before = await workOfAllSessions();
    const counts: TurnCount[] = [];
    let previous: string | undefined;
    for (let turn = 0; turn < turns; turn++) {
      const response = await openai.responses.create({
        model,
        temperature: 0,
        max_output_tokens: 24,
        input: question(turn),
        ...(previous === undefined ? {} : { previous_response_id: previous }),
      });
      const { usage } = response;
      const cached = usage?.input_tokens_details.cached_tokens ?? Number.NaN;
      counts.push(counted(usage?.input_tokens ?? 0, cached, usage?.output_tokens ?? 0));
      previous = response.id;
    }
    expectFlat(counts);
    expect((await workOfAllSessions()) - before).toBe(counts.at(-1)?.total ?? 0);
  }, 120_000);

  test("by chat completions that send everything again", async () => {
    const before = await workOfAllSessions();
    const counts = await chat((messages) => messages);
    expectFlat(counts);
    expect((await workOfAllSessions()) - before).toBe(counts.at(-1)?.total ?? 0);
  }, 120_000);
});

test("the negative control: histories that no session holds cost all of themselves, each turn more", async () => {
  const counts: TurnCount[] = [];
  const messages: OpenAI.ChatCompletionMessageParam[] = [];
  for (let turn = 0; turn < 20; turn++) {
    // Another first message each time, of the same length.
    const other = { role: "user" as const, content: `${10 + turn}: hello` };
    messages.push({ role: "user", content: question(turn) });
    const request = { model, temperature: 0, max_tokens: 24, messages: [other, ...messages] };
    const { choices, usage } = await openai.chat.completions.create(request);
    counts.push(counted(usage?.prompt_tokens ?? 0, usage?.prompt_tokens_details?.cached_tokens ?? 0, 0));
    if (choices[0] !== undefined) messages.push(choices[0].message);
  }
  expect(counts.map(({ cached }) => cached)).toEqual(counts.map(() => 0));
  expect(counts.map(({ computed }) => computed)).toEqual(
    counts.map(({ computed }) => computed).toSorted((a, b) => a - b),
  );
  expect(counts.at(-1)?.computed).toBeGreaterThan(10 * (counts[0]?.computed ?? 0));
});

test("a conversation has the same ids over HTTP and over gRPC", async () => {
  const { modelDir, eosTokenIds } = server.engine.info;
  const tokenizer = loadTokenizer(modelDir);
  const template = loadChatTemplate(modelDir, tokenizer, eosTokenIds);
  const session = await server.connect().createSession({ eosTokenIds });
  let previous: string | undefined;
  for (let turn = 0; turn < 5; turn++) {
    const messages = [{ role: "user" as const, content: question(turn) }];
    const text = turn === 0 ? template.render(messages) : template.delta(messages, { answerWas: "ended" });
    await session.append(tokenizer.encode(text));
    const ids: number[] = [];
    for await (const id of session.generate({ maxTokens: 500 })) ids.push(id);
    const { historyTokens } = await session.info();

    const response = await openai.responses.create({
      model,
      temperature: 0,
      input: question(turn),
      ...(previous === undefined ? {} : { previous_response_id: previous }),
    });
    expect(response.output_text).toBe(tokenizer.decode(ids));
    expect(response.usage).toMatchObject({ output_tokens: ids.length, total_tokens: historyTokens });
    previous = response.id;
  }
});

test("a session that gave way is computed again, and the answers are the same", async () => {
  const ask = (fields: object) =>
    openai.responses.create({ model, temperature: 0, input: "what is a cache?", ...fields });
  const first = await ask({});
  const second = await ask({ previous_response_id: first.id });
  for (let i = 0; i < server.engine.info.capacity; i++) await (await server.connect().createSession()).append([1]);
  const again = await ask({ previous_response_id: first.id });
  expect(again.output_text).toBe(second.output_text);
  expect(again.usage).toMatchObject({
    input_tokens: second.usage?.input_tokens ?? 0,
    input_tokens_details: { cached_tokens: 0 },
  });
});
