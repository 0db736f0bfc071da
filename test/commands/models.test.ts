import { expect, test } from "bun:test";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { kakeya } from "../program.ts";
import { scratchDir } from "../scratch.ts";

const root = join(import.meta.dir, "../..");
const commit = "0123456789abcdef0123456789abcdef01234567";

/** A cache with a good model, one without a template, two that can't be served, and what is no model. */
function writeCache(hub: string): void {
  const snapshot = (name: string, ref = "main") => {
    const folder = join(hub, `models--${name.replace("/", "--")}`);
    const dir = join(folder, "snapshots", commit);
    mkdirSync(dir, { recursive: true });
    mkdirSync(join(folder, "refs"), { recursive: true });
    writeFileSync(join(folder, "refs", ref), commit);
    return dir;
  };
  const tiny = join(root, "models/kakeya-tiny");
  cpSync(tiny, snapshot("org/good"), { recursive: true });
  cpSync(tiny, snapshot("org/tagged", "v1"), { recursive: true });
  const base = snapshot("org/base");
  cpSync(tiny, base, { recursive: true });
  writeFileSync(join(base, "tokenizer_config.json"), "{}");
  writeFileSync(join(snapshot("org/foreign"), "config.json"), '{"architectures": ["GPT2LMHeadModel"]}');
  snapshot("old");
  mkdirSync(join(hub, "datasets--org--data", "refs"), { recursive: true });
  writeFileSync(join(hub, "models--not-a-folder"), "");
}

async function models(hub: string, ...flags: string[]): Promise<string> {
  const child = Bun.spawn([...kakeya, "models", ...flags], {
    env: { ...process.env, HF_HUB_CACHE: hub, HF_HOME: hub, HOME: hub, XDG_CACHE_HOME: hub },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const text = await new Response(child.stdout).text();
  expect(await child.exited).toBe(0);
  return text;
}

test("models lists what is here, with sizes, and why what can't be served can't be", async () => {
  using hub = scratchDir();
  writeCache(hub.path);
  const listed: Record<string, unknown>[] = JSON.parse(await models(hub.path, "--json"));
  const of = (name: string) => listed.find(({ model }) => model === name) ?? {};
  expect(listed.map(({ model }) => model)).toEqual([
    "kakeya-tiny",
    "old",
    "org/base",
    "org/foreign",
    "org/good",
    "org/tagged@v1",
  ]);
  expect(of("org/good")).toMatchObject({
    dir: join(hub.path, "models--org--good/snapshots", commit),
    problem: null,
    chat_problem: null,
    architecture: "Qwen3ForCausalLM",
    parameters: 2_755_392,
    weight_bytes: 5_518_048,
    fits: ["q8", "q4", "f32"],
  });
  expect(of("org/good").engine_file_bytes).toEqual(of("kakeya-tiny").engine_file_bytes);
  expect(of("org/base")).toMatchObject({
    problem: null,
    chat_problem: expect.stringContaining("has no chat template"),
  });
  expect(of("org/foreign").problem).toMatch(/^config\.json: architectures is \["GPT2LMHeadModel"\]/);
  expect(of("old").problem).toMatch(/^config\.json: is missing/);

  const lines = (await models(hub.path)).trimEnd().split("\n");
  expect(lines[0]?.split(/ {2,}/)).toEqual(["model", "weights", "q8", "q4", "f32", "chat", "ready"]);
  expect(lines.find((line) => line.startsWith("org/good"))).toMatch(/ {2}5\.262 MiB {2}.* {2}yes {3}yes$/);
  expect(lines.find((line) => line.startsWith("org/base"))).toMatch(/ {2}no {4}yes$/);
  expect(lines.find((line) => line.startsWith("org/foreign"))).toContain(
    "can't be served: config.json: architectures is",
  );
});

test("models lists the embedded model where there is no cache at all", async () => {
  using nothing = scratchDir();
  expect((await models(join(nothing.path, "none"))).split("\n")[1]).toStartWith("kakeya-tiny  ");
});
