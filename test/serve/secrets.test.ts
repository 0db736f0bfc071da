/** Where tokens must not show, and what terminals must not see. Each `serve` is a process of its own. */
import { expect, test } from "bun:test";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Client, Unauthenticated } from "../../src/client/index.ts";
import { kakeya } from "../program.ts";
import { rejection } from "../rejection.ts";

const root = resolve(import.meta.dir, "../..");
const token = "correct-horse";

/** Control characters but line breaks, and characters that change the direction of the text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const commands = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/;

function start(flags: string[], env: Record<string, string>) {
  return Bun.spawn([...kakeya, "serve", "--bind", "127.0.0.1:0", "--http", "off", ...flags], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, ...env },
  });
}

/** What a server says from its start to its end, while `use` talks to it. */
async function serving(flags: string[], env: Record<string, string>, use: (line: string) => Promise<void>) {
  const server = start(flags, env);
  const stderr = new Response(server.stderr).text();
  let line = "";
  for await (const text of server.stdout.pipeThrough(new TextDecoderStream())) {
    line += text;
    if (!line.includes("\n")) continue;
    try {
      await use(line);
    } finally {
      server.kill("SIGTERM");
    }
  }
  await server.exited;
  return { line, stderr: await stderr };
}

test("gRPC's traces hold no token, right or wrong", async () => {
  const env = { GRPC_TRACE: "all", GRPC_VERBOSITY: "DEBUG", KAKEYA_TOKEN: token };
  const { stderr } = await serving(["--log-level", "debug", "--json"], env, async (line) => {
    const { address } = JSON.parse(line);
    using client = new Client(address, { token });
    await client.runtimeInfo();
    using stranger = new Client(address, { token: "wr0ng-horse" });
    expect(await rejection(stranger.runtimeInfo())).toBeInstanceOf(Unauthenticated);
  });
  // Headers are traced, so there was something to leave out.
  expect(stderr).toContain("received headers");
  expect(stderr).toContain("(left out)");
  expect(stderr).not.toContain("horse");
}, 30_000);

test("a token on the command line is warned about; one from the environment is not", async () => {
  const shown = await serving(["--token", token], {}, async () => {});
  expect(shown.stderr).toContain("warn --token shows in the list of processes");
  const hidden = await serving([], { KAKEYA_TOKEN: token }, async () => {});
  expect(hidden.stderr).not.toContain("warn");
}, 30_000);

test.each([
  [["--token", ""], {}, "option --token needs a value"],
  [[], { KAKEYA_TOKEN: "" }, "KAKEYA_TOKEN: the token is empty"],
  [["--token-file", "/dev/null"], {}, "--token-file /dev/null: the token is empty"],
])("serve %p with %p is refused, not left open", async (flags, env, message) => {
  const server = start(flags, env);
  expect(await new Response(server.stderr).text()).toContain(message);
  expect(await server.exited).toBe(2);
});

test("with --log-format json, what the runtime warns of is JSON, too", async () => {
  const program = `
    const { createLog } = await import(${JSON.stringify(join(root, "src/host/log.ts"))});
    const { logProcessWarnings } = await import(${JSON.stringify(join(root, "src/host/process-warnings.ts"))});
    const write = (line) => process.stderr.write(line);
    logProcessWarnings(createLog({ level: "info", format: "json", write, now: () => new Date() }));
    setTimeout(() => {}, -5);
    const emitter = new (await import("node:events")).EventEmitter();
    for (let i = 0; i < 20; i++) emitter.on("x", () => {});
  `;
  const child = Bun.spawn([process.execPath, "-e", program], { stderr: "pipe" });
  const lines = (await new Response(child.stderr).text()).trim().split("\n");
  const names = lines.map((line) => JSON.parse(line).name);
  expect(names.sort()).toEqual(["MaxListenersExceededWarning", "TimeoutNegativeWarning"]);
});

test.each([[], ["--json"]])(
  "a model folder whose name is meant for the terminal reaches it as text: %p",
  async (...flags) => {
    const folder = mkdtempSync(join(tmpdir(), "kakeya-name-"));
    const model = join(folder, "a\u001b]0;owned\u0007\u202etxt\u009b2J");
    cpSync(join(root, "models/kakeya-tiny"), model, { recursive: true });
    const { line, stderr } = await serving(["--model", model, ...flags], {}, async () => {});
    rmSync(folder, { recursive: true });
    expect(line).toMatch(flags.length === 0 ? /^kakeya serves / : /^\{"ready":true,/);
    expect(line).not.toMatch(commands);
    expect(stderr).not.toMatch(commands);
  },
  30_000,
);

test.each(["", "GET / HTTP"])(
  "seventy connections that say %j and no more, at each door of a server with 64 descriptors, keep nobody out",
  async (said) => {
    const limited = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", ...kakeya, "serve"];
    const free = ["--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", "--metrics-port", "0"];
    const command = [...limited, ...free, "--json", "--stop-with-stdin"];
    const server = Bun.spawn(command, { stdio: ["pipe", "pipe", "pipe"] }); // which ends it with this process
    const ready = JSON.parse(await lineOf(server.stdout, () => true));
    for (const url of [`http://${ready.address}`, ready.http_url, ready.metrics_url]) {
      const { hostname, port } = new URL(url);
      const open = (socket: Bun.Socket) => void socket.write(said);
      const silent = await Promise.all(
        Array.from({ length: 70 }, () => Bun.connect({ hostname, port: Number(port), socket: { open, data() {} } })),
      );
      using client = new Client(ready.address);
      expect((await client.runtimeInfo()).modelId).toBe("kakeya-tiny");
      expect((await fetch(`${ready.http_url}/health`)).status).toBe(200);
      expect((await fetch(ready.metrics_url)).status).toBe(200);
      for (const socket of silent) socket.end();
    }
    server.kill("SIGTERM");
    expect(await new Response(server.stderr).text()).toContain("warn too many connections");
    expect(await server.exited).toBe(0);
  },
  60_000,
);

/** The first whole line that is looked for. */
async function lineOf(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  isIt: (line: string) => boolean,
): Promise<string> {
  let text = "";
  for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const found = text.split("\n").slice(0, -1).find(isIt);
    if (found !== undefined) return found;
  }
  throw new Error(`not in: ${text}`);
}
