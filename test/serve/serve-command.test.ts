import { expect, test } from "bun:test";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, Unavailable } from "../../src/client/index.ts";
import { eventually } from "../eventually.ts";
import { kakeya } from "../program.ts";
import { rejection } from "../rejection.ts";
import { scratchDir } from "../scratch.ts";
import { serve } from "./serve-process.ts";

/** Waits until the server has heard the signal: it turns new calls away. */
async function turnedAway(client: Client): Promise<void> {
  await eventually("the server's refusal", async () => {
    const refusal = await client.runtimeInfo().catch((error: unknown) => error);
    return refusal instanceof Unavailable ? true : undefined;
  });
}

test("it says on one line what it serves and where, and nothing else on stdout", async () => {
  await using server = await serve();
  expect(server.ready).toEqual({
    ready: true,
    address: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
    pid: server.process.pid,
    model: "kakeya-tiny",
    quantization: "q8",
    device: "cpu",
    adapter: "",
    kv: "f32",
    sink: 4,
    window: 64,
    capacity: 4,
    kv_bytes_per_session: 208_896,
  });
  using client = new Client(server.address);
  expect((await client.runtimeInfo()).modelId).toBe("kakeya-tiny");
  server.process.kill("SIGTERM");
  expect(await server.process.exited).toBe(0);
  expect(await server.restOfStdout()).toBe("");
});

test("with --kv q8 a session's bytes are those of rows of 8 bits, counted and told the same", async () => {
  await using server = await serve("--kv", "q8");
  const bytesPerToken = 6 * 2 * (32 + 4) * 2; // layers, heads, numbers and scale, key and value
  expect(server.ready).toMatchObject({ kv: "q8", kv_bytes_per_session: 68 * bytesPerToken });
  using client = new Client(server.address);
  expect(await client.runtimeInfo()).toMatchObject({ kvFormat: "q8", exact: true, kvBytesPerToken: bytesPerToken });
  const session = await client.createSession();
  for (const [history, rows] of [
    [30, 30],
    [130, 68],
  ] as const) {
    await session.append(new Uint32Array(history === 30 ? 30 : 100).fill(7));
    expect(await session.info()).toMatchObject({ historyTokens: history, kvLiveBytes: rows * bytesPerToken });
  }
  await session.close();
});

test("the HTTP door is where --http says, and its URL is in what it says when it is ready", async () => {
  await using server = await serve("--http", "127.0.0.1:0");
  const health = await fetch(`${server.ready.http_url}/health`);
  expect(await health.json()).toEqual({ status: "ok" });
  await using other = await serve("--http", String(server.ready.http_url).replace("http://", "")).catch(
    (error: Error) => ({ message: error.message, async [Symbol.asyncDispose]() {} }),
  );
  expect("message" in other && other.message).toMatch(/--http 127\.0\.0\.1:\d+: .*choose another, or port 0/);
});

test("it warns of a window that the model was not trained on", async () => {
  await using server = await serve("--window", "1024");
  expect(server.ready.window).toBe(1024);
  server.process.kill("SIGTERM");
  expect(await server.stderr()).toMatch(
    /warn --window 1024 is outside of what the model was trained on, 16 to 256 tokens: .* Take --window 256/,
  );
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  test(`${signal}: a stream in flight finishes within the grace period, new calls are turned away, exit code 0`, async () => {
    await using server = await serve("--shutdown-grace", "10s");
    // It would make refused calls again, for longer than the stream may take.
    using client = new Client(server.address, { retryS: 0 });
    const session = await client.createSession();
    await session.append([1, 2, 3]);
    const stream = session.generate({ maxTokens: 50 });
    await stream.next();
    server.process.kill(signal);
    await turnedAway(client);
    expect(await rejection(client.createSession())).toBeInstanceOf(Unavailable);
    expect(await Array.fromAsync(stream)).toHaveLength(49);
    expect(session.lastResult?.stopReason).toBe("max-tokens");
    expect(await server.process.exited).toBe(0);
  });
}

test("a stream that outlasts the grace period ends with done CANCELLED, and the exit code is 0", async () => {
  await using server = await serve("--shutdown-grace", "100ms");
  using client = new Client(server.address, { retryS: 0 });
  const session = await client.createSession();
  await session.append([1, 2, 3]);
  const stream = session.generate({ maxTokens: 2 ** 32 - 1 });
  await stream.next();
  server.process.kill("SIGTERM");
  const ids = await Array.fromAsync(stream);
  expect(session.lastResult).toMatchObject({ stopReason: "cancelled", generatedTokens: ids.length + 1 });
  expect(await server.process.exited).toBe(0);
});

test("a second signal ends it at once", async () => {
  await using server = await serve("--shutdown-grace", "1h");
  using client = new Client(server.address, { retryS: 0 });
  const session = await client.createSession();
  await session.append([1, 2, 3]);
  const stream = session.generate({ maxTokens: 2 ** 32 - 1 });
  await stream.next();
  server.process.kill("SIGTERM");
  await turnedAway(client);
  expect(server.process.exitCode).toBeNull();
  server.process.kill("SIGTERM");
  expect(await server.process.exited).toBe(143);
});

test("a reader that never reads doesn't hold up the end", async () => {
  await using server = await serve("--shutdown-grace", "0");
  using client = new Client(server.address);
  const session = await client.createSession();
  await session.append([1, 2, 3]);
  await session.generate({ maxTokens: 2 ** 32 - 1 }).next();
  server.process.kill("SIGTERM");
  expect(await server.process.exited).toBe(0);
}, 10_000);

test("it ends with words when the model's files are changed in place under it", async () => {
  using scratch = scratchDir();
  const model = join(scratch.path, "model");
  cpSync(join(import.meta.dir, "../golden/llama3-rope"), model, { recursive: true });
  await using server = await serve("--model", model);
  using client = new Client(server.address);
  const session = await client.createSession();
  await session.append([1, 2, 3]);
  const file = join(model, "model.safetensors");
  writeFileSync(file, readFileSync(file).fill(7, 4096));
  const words = /model\.safetensors: was changed while it was in use/;
  expect((await rejection(session.append([4]))).message).toMatch(words);
  expect(await server.process.exited).toBe(1);
  expect(await server.stderr()).toMatch(words);
});

test("with --stop-with-stdin it ends when its standard input does", async () => {
  await using server = await serve("--stop-with-stdin");
  server.process.stdin.end();
  expect(await server.process.exited).toBe(0);
});

test("the token comes from the option, a file or the environment, and never shows in the log", async () => {
  const folder = mkdtempSync(join(tmpdir(), "kakeya-token-"));
  await Bun.write(join(folder, "token"), "from-a-file\n");
  await using server = await serve("--token-file", join(folder, "token"), "--log-level", "debug");
  using client = new Client(server.address, { token: "from-a-file" });
  expect((await client.runtimeInfo()).modelId).toBe("kakeya-tiny");
  server.process.kill("SIGTERM");
  expect(await server.stderr()).not.toContain("from-a-file");
  rmSync(folder, { recursive: true });
});

test("logs are JSON lines when asked for, and name sessions by no more than the start of their ids", async () => {
  await using server = await serve("--log-format", "json", "--log-level", "debug", "--metrics-port", "0");
  const metrics = await fetch(String(server.ready.metrics_url));
  expect(await metrics.text()).toContain("kakeya_session_total");
  using client = new Client(server.address);
  const session = await client.createSession({ label: "a label" });
  await session.append([1]);
  await session.close();
  server.process.kill("SIGTERM");
  const log = await server.stderr();
  const lines = log
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(lines.map(({ message }) => message)).toEqual(
    expect.arrayContaining(["metrics", "session created", "session ended", "call", "stopping"]),
  );
  expect(lines.find(({ message }) => message === "session created").label).toBe("a label");
  expect(log).not.toContain(session.id);
});

test.each([
  [["--quant", "q5"], 2, /quant/],
  [["--capacity", "0"], 2, /--capacity must be an integer from 1/],
  [["--session-ttl", "soon"], 2, /--session-ttl must be a duration/],
  [["--tls-cert", "x.pem"], 2, /both --tls-cert and --tls-key/],
  [["--bind", "foo"], 2, /--bind foo: expected host:port/],
  [["--bind", "0.0.0.0:0"], 2, /lets other machines in/],
  [
    ["--window", "1048576", "--capacity", "65536"],
    1,
    /GiB of memory are needed .* there are .*: lower --capacity to \d/,
  ],
  [["--model", "/nowhere"], 1, /nowhere/],
  [["--token-file", "/nowhere"], 1, /--token-file \/nowhere: ENOENT/],
])("serve %p exits with code %i and says why", async (flags, code, message) => {
  const child = Bun.spawn([...kakeya, "serve", ...flags], { stdout: "pipe", stderr: "pipe" });
  expect(await child.exited).toBe(code);
  expect(await new Response(child.stderr).text()).toMatch(message);
  expect(await new Response(child.stdout).text()).toBe("");
});
