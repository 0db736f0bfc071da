import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Glob } from "bun";
import type { ArgsDef } from "citty";
import type { Command } from "../../src/cli/command.ts";
import { exit } from "../../src/cli/exit.ts";
import { readyAddress } from "../../src/host/ready.ts";
import { SqliteStore } from "../../src/state/sqlite-store.ts";
import { HubServer } from "../checkpoint/hub-server.ts";
import { eventually } from "../eventually.ts";
import { kakeya } from "../program.ts";

const root = resolve(import.meta.dir, "../..");
const names = ["serve", "chat", "bench", "aggregate", "sessions", "smoke", "models", "pull", "print-cmd"];

const commandOf = async (name: string): Promise<Command> =>
  (await import(join(root, "commands", `${name}.ts`))).default;
const commands = await Promise.all(names.map(commandOf));

/** A folder with the reports that examples name, and a hub with the models. */
const cwd = fs.mkdtempSync(join(tmpdir(), "kakeya-examples-"));
const hub = await HubServer.start();
const env = { ...process.env, HF_ENDPOINT: hub.url, HF_HUB_CACHE: join(cwd, "hub") };
beforeAll(async () => {
  const report = join(root, "test/report/data/bench_session_4h_1780332893.json");
  fs.mkdirSync(join(cwd, "results"));
  await using store = await SqliteStore.open({ dir: join(cwd, "kakeya-state"), sync: "normal" });
  await store.create({ id: "example", label: "", eosTokenIds: [], facts: {} });
  for (const name of ["results/bench.json", "before.json", "after.json"]) fs.copyFileSync(report, join(cwd, name));
  fs.writeFileSync(join(cwd, "questions.txt"), "What is a sink?\n");
});
afterAll(async () => {
  await hub[Symbol.asyncDispose]();
  fs.rmSync(cwd, { recursive: true, force: true });
});

function start(line: string) {
  return Bun.spawn(["sh", "-c", `exec "$@" ${line}`, "sh", ...kakeya], {
    cwd,
    env,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
}

async function output(line: string): Promise<string> {
  const child = start(line);
  const text = await new Response(child.stdout).text();
  expect(await child.exited).toBe(0);
  return text;
}

describe("the page of --help", () => {
  test("names every command with what it is for", async () => {
    const page = await output("--help");
    for (const { definition } of commands) {
      const { name, description } = definition.meta as { name: string; description: string };
      expect(page).toMatch(new RegExp(`^ +${name} +${RegExp.escape(description)}$`, "m"));
    }
  });

  test.each(names)(
    "of %s lists every option with its description and its default, and at least one example",
    async (name) => {
      const page = await output(`${name} --help`);
      const { definition, examples } = await commandOf(name);
      for (const [option, { description, ...rest }] of Object.entries((definition.args ?? {}) as ArgsDef)) {
        const shown = rest.type === "positional" ? option.toUpperCase() : `--${option}`;
        expect(description).toBeString();
        expect(page).toContain(shown);
        expect(page).toContain(description as string);
        if (rest.default !== undefined) expect(page).toContain(`(Default: ${rest.default})`);
      }
      expect(examples.length).toBeGreaterThan(0);
      for (const example of examples) expect(page).toContain(`  kakeya ${example}`);
    },
  );

  test.each(names)("of %s says what a value is, not the option's name once more", async (name) => {
    for (const [, option, hint] of (await output(`${name} --help`)).matchAll(/--([a-z-]+)=<([^>]*)>/g)) {
      expect(hint?.replaceAll("_", "-")).not.toBe(option);
    }
  });

  test("of aggregate shows that it takes several files", async () => {
    expect(await output("aggregate --help")).toContain("kakeya aggregate [OPTIONS] [FILE...]");
  });

  test.each(["serve", "bench", "smoke"])("of print-cmd %s is that of the command's own options", async (name) => {
    const page = await output(`print-cmd ${name} --help`);
    for (const option of Object.keys((await commandOf(name)).definition.args as ArgsDef))
      expect(page).toContain(`--${option}`);
  });
});

describe("every example runs as it stands, but for where it listens and its warm-up", () => {
  test.each(commands.flatMap(({ examples }) => examples))("kakeya %s", async (line) => {
    await using server = line.includes("127.0.0.1:50051") ? await serving() : undefined;
    const child = start(elsewhere(line, server?.address));
    const err = new Response(child.stderr).text();
    const out = child.stdout.getReader();
    // What runs until it is stopped, or for hours, is interrupted once it has begun. What it was told was right, or else
    // it would have ended before, with another exit code.
    if (line.startsWith("serve")) await out.read();
    else
      await eventually("its end or its first checkpoint", () => child.exitCode !== null || checkpointed() || undefined);
    child.kill("SIGINT");
    while (!(await out.read()).done);
    // 3 and 4 are gates: a machine may be busy, the negative control must fail, an interrupted run may be too short.
    expect<number[]>([exit.done, exit.gateFailed, exit.inconclusive, exit.interrupted], await err).toContain(
      await child.exited,
    );
  });
});

/** The line with places of this test's own: others may use the ports and the files that it names. Nothing warms up. */
function elsewhere(line: string, address = ""): string {
  const own = line.replace("127.0.0.1:50051", address).replace("/tmp/", `${cwd}/`);
  if (/^(bench|smoke)\b/.test(line)) return `${own} --warm-up 0`;
  if (!line.startsWith("serve")) return own;
  return `${own} ${line.includes("--bind") ? "" : "--bind 127.0.0.1:0"} --http 127.0.0.1:0`;
}

/** Whether a run has begun: it writes a checkpoint first. */
function checkpointed(): boolean {
  return [...new Glob("**/*.partial").scanSync(cwd)].length > 0;
}

/** A server that an example talks to; stopped at the end of the block. */
async function serving(): Promise<AsyncDisposable & { address: string }> {
  const child = start("serve --bind 127.0.0.1:0 --json");
  return {
    address: (await readyAddress(child.stdout)) ?? "",
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await child.exited;
    },
  };
}
