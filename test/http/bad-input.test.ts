import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import type { Engine } from "../../src/engine/engine.ts";
import { eventually } from "../eventually.ts";
import { testEngine } from "../serve/serving.ts";
import { type HttpServing, servingHttp, withoutEnd } from "./serving-http.ts";

let engine: Engine;
let server: HttpServing;
beforeAll(async () => {
  engine = withoutEnd(await testEngine());
  server = await servingHttp({ engine, evictAfterS: 600 });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await engine.close();
});

interface Refusal {
  status: number;
  error: { message: string; type: string; param: string | null; code: string | null };
}

async function refusal(path: string, init: RequestInit): Promise<Refusal> {
  const response = await fetch(`${server.url}${path}`, init);
  const { error } = (await response.json()) as Pick<Refusal, "error">;
  expect(Object.keys(error).sort()).toEqual(["code", "message", "param", "type"]);
  return { status: response.status, error };
}

const post = (body: unknown): RequestInit => ({
  method: "POST",
  body: typeof body === "string" ? body : JSON.stringify(body),
});
const user = { role: "user", content: "hello" };
const image = { type: "image_url", image_url: { url: "data:image/png;base64,AA==" } };

describe("chat completions are refused, by the name of the field", () => {
  test.each<[string, unknown, string | null]>([
    ["malformed JSON", "{", null],
    ["no object", "[]", ""],
    ["no messages", {}, "messages"],
    ["messages that are no list", { messages: "hello" }, "messages"],
    ["no message at all", { messages: [] }, "messages"],
    ["a message that is none", { messages: [1] }, "messages[0]"],
    ["an unknown role", { messages: [{ role: "wizard", content: "x" }] }, "messages[0].role"],
    ["an image", { messages: [{ role: "user", content: [image] }] }, "messages[0].content[0].type"],
    ["no content", { messages: [{ role: "user" }] }, "messages[0].content"],
    ["nothing to answer", { messages: [user, { role: "assistant", content: "hi" }] }, "messages"],
    ["several choices", { messages: [user], n: 2 }, "n"],
    ["probabilities", { messages: [user], logprobs: true }, "logprobs"],
    ["a penalty", { messages: [user], presence_penalty: 0.5 }, "presence_penalty"],
    ["JSON mode", { messages: [user], response_format: { type: "json_object" } }, "response_format"],
    ["an unknown field", { messages: [user], best_of: 3 }, "best_of"],
    ["an unknown field of a message", { messages: [{ ...user, mood: "good" }] }, "messages[0].mood"],
    ["a temperature out of range", { messages: [user], temperature: 3 }, "temperature"],
    ["a temperature that is no number", { messages: [user], temperature: "hot" }, "temperature"],
    ["a limit of nothing", { messages: [user], max_tokens: 0 }, "max_tokens"],
    ["an empty stop text", { messages: [user], stop: [""] }, "stop"],
    ["a forced call", { messages: [user], tool_choice: "required" }, "tool_choice"],
    ["a tool that is no function", { messages: [user], tools: [{ type: "custom" }] }, "tools[0].type"],
    ["usage of no stream", { messages: [user], stream_options: { include_usage: true } }, "stream_options"],
  ])("%s", async (_, body, param) => {
    const { status, error } = await refusal("/v1/chat/completions", post(body));
    expect([status, error.type, error.param]).toEqual([400, "invalid_request_error", param]);
  });

  test("tools, by a model whose template does not know them", async () => {
    const tools = [{ type: "function", function: { name: "now" } }];
    const { status, error } = await refusal("/v1/chat/completions", post({ messages: [user], tools }));
    expect([status, error.message]).toEqual([400, "the model's chat template does not write tools"]);
  });

  test("another model, with a 404", async () => {
    const { status, error } = await refusal("/v1/chat/completions", post({ model: "gpt-4", messages: [user] }));
    expect([status, error.code, error.param]).toEqual([404, "model_not_found", "model"]);
  });
});

describe("responses are refused, by the name of the field", () => {
  test.each<[string, unknown, string]>([
    ["nothing to answer", {}, "input"],
    ["an image", { input: [{ role: "user", content: [{ type: "input_image" }] }] }, "input[0].content[0].type"],
    ["an unknown item", { input: [{ type: "computer_call" }] }, "input[0].type"],
    ["an unknown role", { input: [{ role: "wizard", content: "x" }] }, "input[0].role"],
    ["a reference to nothing", { input: [{ type: "item_reference", id: "msg_0" }] }, "input[0].id"],
    ["an unknown response", { input: "x", previous_response_id: "resp_0" }, "previous_response_id"],
    ["two histories", { input: "x", previous_response_id: "resp_0", conversation: "conv_0" }, "conversation"],
    ["a background job", { input: "x", background: true }, "background"],
    ["a schema", { input: "x", text: { format: { type: "json_schema" } } }, "text.format.type"],
    ["an effort", { input: "x", reasoning: { effort: "high" } }, "reasoning"],
    ["a promise not to forget", { input: "x", truncation: "disabled" }, "truncation"],
    ["encrypted thinking", { input: "x", include: ["reasoning.encrypted_content"] }, "include"],
    ["a hosted tool", { input: "x", tools: [{ type: "web_search" }] }, "tools[0].type"],
    ["an unknown field", { input: "x", best_of: 3 }, "best_of"],
    ["too much metadata", { input: "x", metadata: { a: 1 } }, "metadata.a"],
  ])("%s", async (_, body, param) => {
    const { status, error } = await refusal("/v1/responses", post(body));
    expect(error.param).toBe(param);
    expect(status).toBe(param === "input[0].id" ? 404 : 400);
  });
});

test("unknown paths and methods are told apart", async () => {
  expect((await fetch(`${server.url}/health`, { method: "HEAD" })).status).toBe(200);
  expect((await refusal("/v1/embeddings", post({}))).status).toBe(404);
  expect((await refusal("/v1/models", post({}))).status).toBe(405);
  expect((await refusal("/v1/responses/resp_0", {})).status).toBe(404);
  expect((await refusal("/v1/conversations/conv_0", {})).status).toBe(404);
});

describe("bodies", () => {
  test("of 10 MB are refused, whether their size is known or not", async () => {
    const large = JSON.stringify({ messages: [{ ...user, content: "x".repeat(10_000_000) }] });
    expect((await refusal("/v1/chat/completions", post(large))).status).toBe(413);
    const chunks = new ReadableStream({
      start(controller) {
        for (let at = 0; at < large.length; at += 1_000_000) {
          controller.enqueue(new TextEncoder().encode(large.slice(at, at + 1_000_000)));
        }
        controller.close();
      },
    });
    expect((await refusal("/v1/chat/completions", { method: "POST", body: chunks })).status).toBe(413);
  });

  test("that never come keep nobody out, a thousand of them", async () => {
    const { hostname, port } = new URL(server.url);
    const head = `POST /v1/responses HTTP/1.1\r\nHost: ${hostname}:${port}\r\nContent-Length: 100\r\n\r\n{`;
    const halfOpen = await Promise.all(
      Array.from(
        { length: 1000 },
        (_, index) =>
          new Promise<ReturnType<typeof connect>>((resolve, reject) => {
            const socket = connect(Number(port), hostname, () => {
              socket.write(index % 2 === 0 ? head : head.slice(0, 20));
              resolve(socket);
            });
            socket.once("error", reject);
          }),
      ),
    );
    const response = await fetch(`${server.url}/v1/responses`, post({ input: "hello", max_output_tokens: 2 }));
    expect(response.status).toBe(200);
    for (const socket of halfOpen) socket.on("error", () => {}).destroy();
  }, 60_000);
});

describe("who may not call", () => {
  test.each([
    ["a name that points here", { host: "evil.example" }, "foreign_host"],
    ["another site's page", { origin: "https://evil.example" }, "foreign_origin"],
    ["a page without an origin", { origin: "null" }, "foreign_origin"],
    ["another port's page", { origin: "http://127.0.0.1:1" }, "foreign_origin"],
  ])("%s", async (_, headers, code) => {
    for (const path of ["/v1/models", "/health", "/", "/v1/responses"]) {
      const { status, error } = await refusal(path, { headers });
      expect([status, error.code]).toEqual([403, code]);
    }
  });

  test("its own pages may, and none is told that it may read what it got", async () => {
    const response = await fetch(`${server.url}/v1/models`, { headers: { origin: server.url } });
    expect(response.status).toBe(200);
    expect(response.headers.get("access-control-allow-origin")).toBeNull();
  });

  test("pages of the origins that were named may, and are told so", async () => {
    const origin = "https://chat.example";
    await using open = await servingHttp({ engine, httpOrigins: [origin] });
    const preflight = await fetch(`${open.url}/v1/responses`, { method: "OPTIONS", headers: { origin } });
    expect([preflight.status, preflight.headers.get("access-control-allow-origin")]).toEqual([204, origin]);
    const models = await fetch(`${open.url}/v1/models`, { headers: { origin } });
    expect(models.headers.get("access-control-allow-origin")).toBe(origin);
    expect((await fetch(`${open.url}/v1/models`, { headers: { origin: "https://evil.example" } })).status).toBe(403);
  });

  test("whoever has no token, or another one; health needs none", async () => {
    const token = "correct-horse";
    await using closed = await servingHttp({ engine, token });
    for (const authorization of ["", "Bearer wrong", token]) {
      for (const path of ["/v1/models", "/metrics", "/v1/responses/resp_0"]) {
        const response = await fetch(closed.url + path, { headers: authorization === "" ? {} : { authorization } });
        expect(response.status).toBe(401);
        expect(await response.json()).toMatchObject({ error: { code: "invalid_api_key" } });
      }
    }
    expect((await fetch(`${closed.url}/health`)).status).toBe(200);
    expect((await closed.openai({ apiKey: token }).models.list()).data).toHaveLength(1);
    expect(closed.logged.join("")).not.toContain(token);
  });
});

test("streams that are left behind leave nothing: all places are free, and no call is in flight", async () => {
  const { capacity } = engine.info;
  for (const path of ["/v1/responses", "/v1/chat/completions"]) {
    for (let i = 0; i < 4 * capacity; i++) {
      const leaving = new AbortController();
      const stream = i % 4 > 0;
      const body = { input: "hello", max_output_tokens: 1_000_000, stream };
      const chat = { messages: [user], max_tokens: 1_000_000, stream };
      const init = { ...post(path.endsWith("responses") ? body : chat), signal: leaving.signal };
      const answered = fetch(server.url + path, init);
      if (stream) {
        const response = await answered;
        expect(response.status).toBe(200);
        if (i % 2 === 0) await response.body?.getReader().read();
      } else {
        await eventually("its session", () => [...server.server.store.sessions].some(({ idle }) => !idle) || undefined);
      }
      leaving.abort();
      await answered.catch(() => {});
    }
  }
  await eventually("the end of all calls", async () => {
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    // The one that asks is in flight, too.
    return metrics.includes("\nkakeya_num_requests_running 1\n") || undefined;
  });
  const client = server.connect();
  const sessions = await Promise.all(Array.from({ length: capacity }, () => client.createSession()));
  for (const session of sessions) await session.append([1, 2, 3]);
  expect(server.server.store.activeCount).toBe(capacity);
  for (const session of sessions) await session.close();
}, 60_000);

test("more requests than places wait for one; where others have all places, they are told to come again", async () => {
  const client = server.connect();
  const sessions = await Promise.all(Array.from({ length: engine.info.capacity }, () => client.createSession()));
  const { status, error } = await refusal("/v1/responses", post({ input: "hello" }));
  expect([status, error.code]).toEqual([429, "no_free_session"]);
  for (const session of sessions) await session.close();
  const many = Array.from({ length: 32 }, () =>
    fetch(`${server.url}/v1/responses`, post({ input: "hello", max_output_tokens: 8, temperature: 0 })),
  );
  expect((await Promise.all(many)).map(({ status }) => status)).toEqual(many.map(() => 200));
});

test("a model without a template is told by the name of what is missing; gRPC serves it all the same", async () => {
  const bare = new Proxy(engine, {
    get: (target, name) =>
      name === "info" ? { ...engine.info, modelDir: import.meta.dir } : Reflect.get(target, name),
  });
  await using closed = await servingHttp({ engine: bare });
  const response = await fetch(`${closed.url}/v1/chat/completions`, post({ messages: [user] }));
  expect(response.status).toBe(501);
  expect(response.headers.get("x-should-retry")).toBe("false");
  expect(await response.json()).toMatchObject({ error: { message: expect.stringContaining("tokenizer.json") } });
  expect((await closed.connect().runtimeInfo()).modelId).toBe("kakeya-tiny");
});

test("a server that stops ends streams in words", async () => {
  const own = withoutEnd(await testEngine());
  const stopping = await servingHttp({ engine: own });
  const body = { messages: [user], max_tokens: 1_000_000, stream: true };
  const response = await fetch(`${stopping.url}/v1/chat/completions`, post(body));
  const text = response.text();
  await stopping[Symbol.asyncDispose]();
  await own.close();
  expect(await text).toMatch(/\ndata: \{"error":\{"message":"the server is shutting down".*\n\n$/);
});
