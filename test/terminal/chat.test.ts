/** `kakeya chat` as it is used: in a terminal, and in pipes. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { embeddedModelDir } from "../../src/checkpoint/embedded.ts";
import { startServer } from "../bench/processes.ts";
import { eventually } from "../eventually.ts";
import { kakeya } from "../program.ts";
import { scratchDir } from "../scratch.ts";
import { type Serving, serving } from "../serve/serving.ts";

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

/** Its temporary files go to a folder of its own, where a test can see that none is left. */
function environment(): { TMPDIR: string } & Record<string, string | undefined> {
  return { ...process.env, TMPDIR: mkdtempSync(join(scratch.path, "tmp-")) };
}

async function piped(args: readonly string[], input = ""): Promise<{ code: number; out: string; err: string }> {
  const env = environment();
  const child = Bun.spawn([...kakeya, "chat", ...args], {
    cwd: scratch.path,
    env,
    stdin: Buffer.from(input),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  const code = await child.exited;
  expect(readdirSync(env.TMPDIR)).toEqual([]);
  return { code, out, err };
}

describe("in a pipe", () => {
  test("each line is a message of one conversation, and nothing but the answers is on stdout", async () => {
    const { code, out, err } = await piped([], `${first.question}\n\n${second.question}\r\n`);
    expect({ code, out, err }).toEqual({ code: 0, out: `${first.text}\n${second.text}\n`, err: "" });
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

  test("that an answer was cut off is said on stderr, not in the answer", async () => {
    const { out, err } = await piped(["--address", server.address, "--max-tokens", "5", first.question]);
    expect(first.text).toStartWith(out.trimEnd());
    expect(err).toBe("[the answer was cut off after 5 tokens: --max-tokens]\n");
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

  test("it ends when nobody reads its answers any more, and reads no more than it answers", async () => {
    const line = `yes '${first.question}' | "$@" chat --address ${server.address} | head -1`;
    const child = Bun.spawn(["sh", "-c", line, "sh", ...kakeya], {
      stdout: "pipe",
      stderr: "pipe",
      env: environment(),
    });
    expect(await new Response(child.stdout).text()).toBe(`${first.text}\n`);
    expect(await child.exited).toBe(0);
    await eventually("no session", () => server.server.store.activeCount === 0 || undefined);
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
  /** Its folder for temporary files. */
  readonly temporary: string;

  constructor(args: readonly string[], env: Record<string, string> = {}, command = [...kakeya, "chat", ...args]) {
    const decoder = new TextDecoder();
    const own = environment();
    this.temporary = own.TMPDIR;
    this.child = Bun.spawn(command, {
      cwd: scratch.path,
      env: { ...own, TERM: "xterm-256color", NO_COLOR: undefined, ...env },
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
/** kakeya-tiny with an end token that it never says: only the limit, or a person, ends its answers. */
function endless(): string[] {
  const dir = join(scratch.path, "endless");
  cpSync(embeddedModelDir(), dir, { recursive: true });
  const change = (name: string, values: object) => {
    const config = JSON.parse(readFileSync(join(dir, name), "utf8"));
    writeFileSync(join(dir, name), JSON.stringify({ ...config, ...values }));
  };
  change("generation_config.json", { eos_token_id: 2045 });
  change("tokenizer_config.json", { eos_token: "<|endoftext|>" });
  return ["--model", dir, "--max-tokens", "1000000"];
}

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
    expect(readdirSync(terminal.temporary)).toEqual([]);
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
    const args = [...endless(), "--state", join(scratch.path, "stopped")];
    let id: string;
    {
      await using terminal = new Terminal(args);
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
    await using terminal = new Terminal(endless());
    await terminal.until(prompt);
    terminal.type(`${first.question}\r`);
    await terminal.until("\n");
    await terminal.until(" ");
    terminal.type(interrupt);
    await terminal.until("[stopped]");
    await terminal.until(prompt);
    terminal.type(interrupt);
    expect(await terminal.child.exited).toBe(130);
    expect(readdirSync(terminal.temporary)).toEqual([]);
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
    await using terminal = new Terminal(endless());
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

  test("a server that dies is told, and the conversation is not over", async () => {
    await using own = await startServer("127.0.0.1:0", scratch.path);
    await using terminal = new Terminal(["--address", own.address]);
    await terminal.until(prompt);
    own.kill("SIGKILL");
    await own.exited;
    terminal.type("Hi\r");
    expect(await terminal.until(prompt)).toMatch(/kakeya: .*(connect|UNAVAILABLE|closed|lost)/i);
    terminal.type("/quit\r");
    expect(await terminal.child.exited).toBe(0);
  });

  test.each(["SIGTERM", "SIGHUP", "SIGINT", "its terminal's end"] as const)(
    "%s ends it with nothing left",
    async (way) => {
      await using terminal = new Terminal([]);
      await terminal.until(prompt);
      if (way === "its terminal's end") terminal.child.terminal?.close();
      else terminal.child.kill(way);
      expect(await terminal.child.exited).toBe(130);
      expect(readdirSync(terminal.temporary)).toEqual([]);
    },
  );

  test("it leaves the terminal as it was, also when it is ended in the middle of an answer", async () => {
    const command = [...kakeya, "chat", ...endless(), ";", "stty", "-a"];
    await using terminal = new Terminal([], {}, ["sh", "-c", command.join(" ")]);
    await terminal.until(prompt);
    terminal.type(`${first.question}\r`);
    await terminal.until("\n");
    await terminal.until(" ");
    terminal.type(interrupt + interrupt);
    const settings = await terminal.until(" echok");
    expect(settings).toMatch(/[^-]icanon/);
    expect(settings).toMatch(/[^-]isig/);
    expect(await terminal.child.exited).toBe(0);
  });

  test("with NO_COLOR nothing is coloured", async () => {
    await using terminal = new Terminal([...endless(), first.question], { NO_COLOR: "1" });
    await terminal.until("starting");
    await terminal.until("\x1b[2K");
    await terminal.until(" ");
    terminal.type(interrupt);
    await terminal.until("[stopped]");
    expect(await terminal.child.exited).toBe(130);
    expect(terminal.all).not.toContain("\x1b[2m");
  });
});
