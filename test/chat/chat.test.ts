import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Answer, Chat, ModelError, TemplateError } from "../../src/chat/index.ts";
import { embeddedModelDir } from "../../src/checkpoint/embedded.ts";
import { Cancelled, FailedPrecondition, SessionClosed, SessionNotFound } from "../../src/client/index.ts";
import { loadTokenizer } from "../../src/text/tokenizer.ts";
import { rejection } from "../rejection.ts";
import { scratchDir } from "../scratch.ts";
import { type Serving, serving } from "../serve/serving.ts";

const golden: { turns: { question: string; text: string }[] } = JSON.parse(
  readFileSync(join(import.meta.dir, "../golden/kakeya-tiny.json"), "utf8"),
);
const [first, second] = golden.turns.map(({ question }) => question) as [string, string];
const limit = { maxTokens: 64 };

let server: Serving;
beforeAll(async () => {
  server = await serving({ capacity: 8 });
});
afterAll(() => server[Symbol.asyncDispose]());

/** The text of an answer while it streams. */
async function streamed(chat: Chat, message: string, options = {}): Promise<string> {
  let text = "";
  for await (const event of chat.send(message, { ...limit, ...options })) if (event.type === "text") text += event.text;
  return text;
}

test("a conversation has the model's answers, and each message costs its own tokens", async () => {
  const chat = await Chat.open(server.connect());
  let tokens = 0;
  for (const { question, text } of golden.turns) {
    expect(await streamed(chat, question)).toBe(text);
    const answer = chat.lastAnswer as Answer;
    expect(answer).toMatchObject({ text, reasoning: "", toolCalls: [], stopReason: "eos" });
    tokens += answer.promptTokens + answer.answerTokens;
    expect(await chat.session.info()).toMatchObject({ historyTokens: tokens, computedTokens: tokens });
  }
  await chat.close();
  expect(await rejection(chat.ask(first))).toBeInstanceOf(SessionClosed);
});

test("it is continued by its session's id as if it had never been left", async () => {
  const { session } = await Chat.open(server.connect()).then(async (chat) => {
    expect((await chat.ask(first, limit)).text).toBe(golden.turns[0]?.text as string);
    return chat;
  });
  const chat = await Chat.open(server.connect(), { session: session.id });
  expect((await chat.ask(second, limit)).text).toBe(golden.turns[1]?.text as string);
  expect(
    (await rejection(Chat.open(server.connect(), { session: "nobody" }).then((chat) => chat.ask(first)))).name,
  ).toBe("SessionNotFound");
});

describe("an answer that is broken off is closed before the next message", () => {
  /** What the next answer must be: of a session with exactly these ids. */
  async function expected(answered: number): Promise<string> {
    const tokenizer = loadTokenizer(embeddedModelDir());
    const eosTokenIds = server.engine.info.eosTokenIds;
    const session = await server.connect().createSession({ eosTokenIds });
    const question = (text: string) => `<|im_start|>user\n${text}<|im_end|>\n<|im_start|>assistant\n`;
    await session.append(tokenizer.encode(question(first)));
    await Array.fromAsync(session.generate({ maxTokens: answered }));
    await session.append(tokenizer.encode(`<|im_end|>\n${question(second)}`));
    return tokenizer.decode(await Array.fromAsync(session.generate(limit)));
  }

  const ways: [string, (chat: Chat) => Promise<unknown>, Answer["stopReason"]][] = [
    ["by the limit", (chat) => streamed(chat, first, { maxTokens: 5 }), "max-tokens"],
    ["by a stop string", (chat) => streamed(chat, first, { stops: [" a "] }), "stop-string"],
    [
      "by leaving the loop",
      async (chat) => {
        for await (const _ of chat.send(first, limit)) break;
      },
      "cancelled",
    ],
    [
      "by its signal",
      async (chat) => {
        const abort = new AbortController();
        const answer = (async () => {
          for await (const _ of chat.send(first, { ...limit, signal: abort.signal })) abort.abort();
        })();
        expect(await rejection(answer)).toBeInstanceOf(Cancelled);
      },
      "cancelled",
    ],
  ];
  test.each(ways)("%s", async (_, breakOff, stopReason) => {
    const chat = await Chat.open(server.connect());
    await breakOff(chat);
    const answer = chat.lastAnswer as Answer;
    expect(answer.stopReason).toBe(stopReason);
    expect(golden.turns[0]?.text).toStartWith(answer.text);
    const { historyTokens } = await chat.session.info();
    expect((await chat.ask(second, limit)).text).toBe(await expected(historyTokens - answer.promptTokens));
    await chat.close();
  });
});

test("one answer at a time; a call that is refused changes nothing", async () => {
  const chat = await Chat.open(server.connect());
  const answer = chat.send(first, limit);
  await answer.next();
  expect(await rejection(chat.ask(second))).toBeInstanceOf(FailedPrecondition);
  await answer.return();
  const { historyTokens } = await chat.session.info();
  expect((await rejection(chat.ask([]))).message).toContain("there is no message to answer");
  expect((await chat.session.info()).historyTokens).toBe(historyTokens);
  await chat.close();
});

test("a system message stands at the beginning; tools that the template does not write are refused", async () => {
  const client = server.connect();
  const plain = await Chat.open(client);
  const told = await Chat.open(client, { system: "Be brief." });
  await Promise.all([plain.ask(first, limit), told.ask(first, limit)]);
  const system = loadTokenizer(embeddedModelDir()).encode("<|im_start|>system\nBe brief.<|im_end|>\n").length;
  expect(told.lastAnswer?.promptTokens).toBe((plain.lastAnswer?.promptTokens ?? 0) + system);
  const offered = await Chat.open(client, { tools: [{ name: "look" }] });
  const error = await rejection(offered.ask(first));
  expect(error).toBeInstanceOf(TemplateError);
  expect(error.message).toContain("does not write tools");
  for (const chat of [plain, told, offered]) await chat.close();
});

test("a model without a template, or that is not here, is refused by the name of what is missing", async () => {
  using scratch = scratchDir();
  const dir = join(scratch.path, "bare");
  mkdirSync(dir);
  cpSync(join(embeddedModelDir(), "tokenizer.json"), join(dir, "tokenizer.json"));
  const sessions = server.server.store.activeCount;
  const bare = await rejection(Chat.open(server.connect(), { model: dir }));
  expect(bare).toBeInstanceOf(ModelError);
  expect(bare.message).toContain(`${dir}: has no chat template: there is no chat_template.jinja`);
  const nowhere = await rejection(Chat.open(server.connect(), { model: "nobody/nothing" }));
  expect(nowhere.message).toContain("nobody/nothing");
  expect(server.server.store.activeCount).toBe(sessions);
});

test("calls of functions come as events and in the answer, and their results are sent as messages", async () => {
  using scratch = scratchDir();
  const { dir, name } = await modelThatCalls(scratch.path);
  const chat = await Chat.open(server.connect(), { model: dir, tools: [{ name }] });
  const types: string[] = [];
  for await (const { type } of chat.send("Call!", { maxTokens: 1 })) types.push(type);
  expect(types).toEqual(["tool_call", "tool_call_arguments", "tool_call_done"]);
  const call = { id: "call00001", name, arguments: '{"deep": 12345678901234567890}' };
  expect(chat.lastAnswer?.toolCalls).toEqual([call]);
  await chat.ask([{ role: "tool", toolCallId: call.id, name, content: "42" }], { maxTokens: 1 });
  expect(chat.lastAnswer?.promptTokens).toBeGreaterThan(0);
  await chat.close();
});

/**
 * kakeya-tiny with other words for its ids: the one that it says first is a call. What it is told has no words of its
 * own in that vocabulary, so it is the same in any.
 */
async function modelThatCalls(parent: string): Promise<{ dir: string; name: string }> {
  const dir = join(parent, "caller");
  mkdirSync(dir);
  const template = "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}{{ tools | tojson if tools }} go";
  writeFileSync(join(dir, "chat_template.jinja"), template);
  const write = (special: Record<number, string>) => {
    const words = Array.from({ length: 2048 }, (_, id) => [special[id] ?? `w${id}`, id]);
    const model = {
      type: "WordPiece",
      vocab: Object.fromEntries(words),
      unk_token: "w0",
      continuing_subword_prefix: "##",
    };
    const tokenizer = {
      added_tokens: [],
      pre_tokenizer: { type: "WhitespaceSplit" },
      decoder: null,
      post_processor: null,
      model,
    };
    writeFileSync(join(dir, "tokenizer.json"), JSON.stringify({ version: "1.0", normalizer: null, ...tokenizer }));
  };
  write({});
  const name = "look";
  const chat = await Chat.open(server.connect(), { model: dir, tools: [{ name }] });
  const { text } = await chat.ask("Call!", { maxTokens: 1 });
  await chat.close();
  write({ [Number(text.slice(1))]: `{"name": "${name}", "parameters": {"deep": 12345678901234567890}}` });
  return { dir, name };
}

test("a session that is gone says so", async () => {
  const chat = await Chat.open(server.connect());
  await server.connect().session(chat.session.id).close();
  expect(await rejection(chat.ask(first))).toBeInstanceOf(SessionNotFound);
});
