/** The header that proxies route by: the same for all requests of a conversation. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type HttpServing, servingHttp } from "./serving-http.ts";

let server: HttpServing;
beforeAll(async () => {
  server = await servingHttp();
});
afterAll(() => server[Symbol.asyncDispose]());

const name = "kakeya-session";
const common = { model: "kakeya-tiny", temperature: 0, max_output_tokens: 4 };

test("a chain of responses answers with one id, from its first to its last, branches included", async () => {
  const openai = server.openai();
  const ask = async (input: string, previous?: string) => {
    const { data, response } = await openai.responses
      .create({ ...common, input, ...(previous === undefined ? {} : { previous_response_id: previous }) })
      .withResponse();
    return { id: data.id, session: response.headers.get(name) };
  };
  const first = await ask("hello");
  expect(first.session).toMatch(/^[\w-]{32}$/);
  const second = await ask("and again", first.id);
  const branch = await ask("or else", first.id);
  const third = await ask("once more", second.id);
  expect([second.session, branch.session, third.session]).toEqual([first.session, first.session, first.session]);
  expect((await ask("hello, from somebody else")).session).not.toBe(first.session);
});

test("a stream has it among its headers", async () => {
  const { response } = await server
    .openai()
    .responses.create({ ...common, input: "hello", stream: true })
    .withResponse();
  expect(response.headers.get(name)).toMatch(/^[\w-]{32}$/);
  await response.body?.cancel();
});

test("chat completions that send a conversation again have the id of its first turn", async () => {
  const openai = server.openai();
  const messages = [{ role: "user" as const, content: "what is a sink?" }];
  const request = { model: "kakeya-tiny", temperature: 0, max_completion_tokens: 4 };
  const one = await openai.chat.completions.create({ ...request, messages }).withResponse();
  const answer = { role: "assistant" as const, content: one.data.choices[0]?.message.content ?? "" };
  const two = await openai.chat.completions
    .create({ ...request, messages: [...messages, answer, { role: "user", content: "and a window?" }] })
    .withResponse();
  expect(two.response.headers.get(name)).toBe(one.response.headers.get(name) ?? "none");
});

test("a client's own id is given back", async () => {
  const openai = server.openai().withOptions({ defaultHeaders: { [name]: "my-conversation" } });
  const { response } = await openai.responses.create({ ...common, input: "hello" }).withResponse();
  expect(response.headers.get(name)).toBe("my-conversation");
});
