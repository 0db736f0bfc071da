/** `kakeya chat` as it is used: in a terminal, and in pipes. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { embeddedModelDir } from "../../src/checkpoint/embedded.ts";
import { eventually } from "../eventually.ts";
import { scratchDir } from "../scratch.ts";
import { type Serving, serving } from "../serve/serving.ts";

const kakeya = [process.execPath, join(import.meta.dir, "../../src/main.ts")];
const golden: { turns: { question: string; text: string }[] } = JSON.parse(
  readFileSync(join(import.meta.dir, "../golden/kakeya-tiny.json"), "utf8"),
);
const [first, second] = golden.turns as [(typeof golden.turns)[0], (typeof golden.turns)[0]];

let server: Serving;
let scratch: ReturnType<typeof scratchDir>;
beforeAll(async () => {
  server = await serving({ capacity: 8 });
  scratch = scratchDir();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  scratch[Symbol.dispose]();
});

/** Its temporary files go where a test can see that none is left. */
function environment(): Record<string, string | undefined> {
  const tmp = join(scratch.path, "tmp");
  mkdirSync(tmp, { recursive: true });
  return { ...process.env, TMPDIR: tmp };
}

async function piped(args: readonly string[], input = ""): Promise<{ code: number; out: string; err: string }> {
  const child = Bun.spawn([...kakeya, "chat", ...args], {
    cwd: scratch.path,
    env: environment(),
    stdin: Buffer.from(input),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, out, err };
}

describe("in a pipe", () => {
  test("each line is a message of one conversation, and nothing but the answers is on stdout", async () => {
    const { code, out, err } = await piped([], `${first.question}\n\n${second.question}\r\n`);
    expect({ code, out, err }).toEqual({ code: 0, out: `${first.text}\n${second.text}\n`, err: "" });
    expect(readdirSync(join(scratch.path, "tmp"))).toEqual([]);
  });

  test("a message on the command line is the only one; - takes the whole input for one", async () => {
    expect(await piped(["--address", server.address, first.question], "not read\n")).toMatchObject({
      code: 0,
      out: `${first.text}\n`,
    });
    const whole = await piped(["--address", server.address, "-", "--json"], `${first.question}\n`);
    expect(JSON.parse(whole.out)).toMatchObject({ text: first.text, stop_reason: "eos" });
    expect((await piped(["--address", server.address, ""])).err).toContain("the message is empty");
  });

  test("its JSON has the counts: each token was computed once, and the slab does not grow", async () => {
    const questions = golden.turns.map(({ question }) => question);
    const { out } = await piped(["--address", server.address, "--json"], questions.join("\n"));
    const lines = out
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    let tokens = 0;
    for (const line of lines) {
      tokens += line.prompt_tokens + line.answer_tokens;
      expect(line).toMatchObject({ history_tokens: tokens, computed_tokens: tokens, kv_slab_bytes: 313_344 });
    }
    expect(lines.map(({ text }) => text)).toEqual(golden.turns.map(({ text }) => text));
    // Nobody can come back to it, so it has not kept its place on the server.
    await eventually("no session", () => server.server.store.activeCount === 0 || undefined);
  });

  test("a conversation in a folder is continued by its id", async () => {
    const state = ["--state", join(scratch.path, "state")];
    const { err } = await piped(state, `${first.question}\n`);
    const id = /--session (\S+)/.exec(err)?.[1] ?? "";
    const { out } = await piped([...state, "--session", id, second.question]);
    expect(out).toBe(`${second.text}\n`);
    const nobody = await piped([...state, "--session", "nobody", "Hi"]);
    expect(nobody).toMatchObject({ code: 1, out: "" });
    expect(nobody.err).toContain('no session "nobody"');
  });

  test("a model without a chat template is refused by the name of what is missing", async () => {
    const dir = join(scratch.path, "bare");
    cpSync(embeddedModelDir(), dir, { recursive: true });
    const config = JSON.parse(readFileSync(join(dir, "tokenizer_config.json"), "utf8"));
    writeFileSync(join(dir, "tokenizer_config.json"), JSON.stringify({ ...config, chat_template: undefined }));
    const { code, err } = await piped(["--model", dir, "Hi"]);
    expect(code).toBe(1);
    expect(err).toContain(`${dir}: has no chat template: there is no chat_template.jinja`);
    rmSync(dir, { recursive: true });
  });

  test("where no server answers, it says so", async () => {
    const { code, err } = await piped(["--address", `unix:${join(scratch.path, "nobody.sock")}`, "Hi"]);
    expect(code).toBe(1);
    expect(err).toContain("no kakeya server answers at unix:");
  });
});

/** `kakeya chat` in a terminal of its own. */
class Terminal implements AsyncDisposable {
  #shown = "";
  #seen = 0;
  readonly child: Bun.Subprocess;

  constructor(args: readonly string[], env: Record<string, string> = {}) {
    const decoder = new TextDecoder();
    this.child = Bun.spawn([...kakeya, "chat", ...args], {
      cwd: scratch.path,
      env: { ...environment(), TERM: "xterm-256color", NO_COLOR: undefined, ...env },
      terminal: { cols: 200, data: (_, bytes) => this.#show(decoder.decode(bytes, { stream: true })) },
    });
  }

  #show(text: string): void {
    this.#shown += text;
  }

  type(keys: string): void {
    this.child.terminal?.write(keys);
  }

  /** What is shown until `end` shows, after what was seen before. */
  async until(end: string): Promise<string> {
    const at = await eventually(`${JSON.stringify(end)} in the terminal`, () => {
      const found = this.#shown.indexOf(end, this.#seen);
      return found < 0 ? undefined : found + end.length;
    });
    const text = this.#shown.slice(this.#seen, at);
    this.#seen = at;
    return text;
  }

  /** Everything so far. */
  get all(): string {
    return this.#shown;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill("SIGKILL");
    await this.child.exited;
  }
}

/** Readline has written the prompt, and its cursor stands after it. */
const prompt = "> \x1b[3G";
const interrupt = "\x03";
/** So hot that the end token comes late. */
const endless = ["--temperature", "100", "--seed", "1", "--max-tokens", "100000"];

describe("in a terminal", () => {
  test("it is a conversation with commands and a history of lines, over a server of its own", async () => {
    await using terminal = new Terminal([]);
    expect(await terminal.until(prompt)).toContain("kakeya-tiny q8, 4+64 tokens cached");
    terminal.type(`${first.question}\r`);
    expect(await terminal.until(prompt)).toContain(`${first.text}\r\n`);
    terminal.type(`${second.question}\r`);
    expect(await terminal.until(prompt)).toContain(`${second.text}\r\n`);
    terminal.type("/stats\r");
    const stats = await terminal.until(prompt);
    const [, history] = /history +(\d+) tokens/.exec(stats) ?? [];
    expect(stats).toContain(`computed     ${history} tokens, each of the history once; `);
    expect(stats).toContain("if it were sent again for each of the 2 answers");
    expect(stats).toContain("of 306 KiB, which do not grow");
    terminal.type("/help\r");
    expect(await terminal.until(prompt)).toContain("/stats");
    terminal.type("/nothing\r");
    expect(await terminal.until(prompt)).toContain("there is no /nothing");
    terminal.type("/new\r");
    await terminal.until(prompt);
    // Three lines up is the second question: as the first of a new conversation.
    terminal.type("\x1b[A\x1b[A\x1b[A\x1b[A\x1b[A\x1b[A\r");
    expect(await terminal.until(prompt)).toContain(`${first.text}\r\n`);
    terminal.type("\x04");
    expect(await terminal.child.exited).toBe(0);
    expect(readdirSync(join(scratch.path, "tmp"))).toEqual([]);
  });

  test("lines that are pasted at once are answered in turn; a backslash joins two", async () => {
    await using terminal = new Terminal(["--address", server.address, "--json"]);
    await terminal.until(prompt);
    terminal.type(`${first.question}\r${second.question}\r`);
    await terminal.until(JSON.stringify(first.text));
    await terminal.until(JSON.stringify(second.text));
    await terminal.until(prompt);
    terminal.type("one\\\r");
    await terminal.until("… ");
    terminal.type("two\r");
    await terminal.until(prompt);
    terminal.type("/quit\r");
    expect(await terminal.child.exited).toBe(0);
  });

  test("Ctrl-C stops the answer, the conversation goes on, and is continued later by its id", async () => {
    const args = ["--address", server.address];
    let id: string;
    {
      await using terminal = new Terminal([...args, ...endless]);
      await terminal.until(prompt);
      terminal.type(`${first.question}\r`);
      await terminal.until("\n");
      await terminal.until(" ");
      terminal.type(`typed ahead${interrupt}`);
      await terminal.until("[stopped]");
      await terminal.until(prompt);
      terminal.type("/stats\r");
      const stats = await terminal.until(prompt);
      expect(stats).toContain("each of the history once");
      terminal.type("/quit\r");
      expect(await terminal.child.exited).toBe(0);
      id = /--session (\S+)/.exec(terminal.all)?.[1] ?? "";
    }
    await using terminal = new Terminal([...args, "--session", id]);
    expect(await terminal.until(prompt)).toContain("tokens were said before");
  });

  test("a second Ctrl-C ends it, with nothing left", async () => {
    await using terminal = new Terminal(endless);
    await terminal.until(prompt);
    terminal.type(`${first.question}\r`);
    await terminal.until("\n");
    await terminal.until(" ");
    terminal.type(interrupt);
    await terminal.until("[stopped]");
    await terminal.until(prompt);
    terminal.type(interrupt);
    expect(await terminal.child.exited).toBe(130);
    expect(readdirSync(join(scratch.path, "tmp"))).toEqual([]);
  });

  test("at the prompt, Ctrl-C clears the line first", async () => {
    await using terminal = new Terminal(["--address", server.address]);
    await terminal.until(prompt);
    // The line, too, since nobody has begun to answer it.
    terminal.type(`never sent\rnor this${interrupt}`);
    await terminal.until("ends the conversation");
    await terminal.until(prompt);
    terminal.type(`${first.question}\r`);
    expect(await terminal.until(prompt)).toContain(first.text);
    terminal.type("\x04");
    expect(await terminal.child.exited).toBe(0);
  });

  test("a session that is gone is told, and /new starts another", async () => {
    await using terminal = new Terminal(["--address", server.address]);
    await terminal.until(prompt);
    for (const { id } of server.server.store.sessions) await server.connect().session(id).close();
    terminal.type("Hi\r");
    expect(await terminal.until(prompt)).toContain("/new starts another conversation");
    terminal.type("/new\r");
    await terminal.until(prompt);
    terminal.type(`${first.question}\r`);
    expect(await terminal.until(prompt)).toContain(first.text);
  });

  test("what is typed during an answer waits for the next prompt", async () => {
    await using terminal = new Terminal(["--address", server.address, ...endless]);
    await terminal.until(prompt);
    terminal.type(`${first.question}\r`);
    await terminal.until("\n");
    await terminal.until(" ");
    // The first line stops nothing; the interrupt discards it with the answer, and what comes after it stays.
    terminal.type(`dropped\r${interrupt}kept`);
    await terminal.until("[stopped]");
    expect(await terminal.until("kept")).not.toContain("dropped");
    terminal.type("\x15/quit\r");
    expect(await terminal.child.exited).toBe(0);
  });

  test("with NO_COLOR nothing is coloured", async () => {
    await using terminal = new Terminal(["--address", server.address, ...endless, first.question], { NO_COLOR: "1" });
    await terminal.until(" ");
    terminal.type(interrupt);
    await terminal.until("[stopped]");
    expect(await terminal.child.exited).toBe(130);
    expect(terminal.all).not.toContain("\x1b[2m");
  });
});
