/**
 * The packages as strangers get them: packed, and installed from the tarballs into empty folders. Neither package needs
 * anything else, so the installers are told to stay offline, or given a registry that nobody can reach.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { buildClient } from "../../build/client.ts";
import { writeCommandPackage, writePlatformPackage } from "../../build/npm.ts";
import { readyAddress } from "../../src/host/ready.ts";
import { packageCommand } from "../../tools/package-command.ts";
import { executableAt, platform } from "./executable-at.ts";

const root = resolve(import.meta.dir, "../..");
const scratch = fs.mkdtempSync(join(tmpdir(), "kakeya-packages-"));
const tarballs = join(scratch, "tarballs");
const node = Bun.which("node");
const golden: { turns: { question: string; text: string }[] } = JSON.parse(
  fs.readFileSync(join(root, "test/golden/kakeya-tiny.json"), "utf8"),
);

beforeAll(async () => {
  const packages = join(scratch, "packages");
  await buildClient(join(packages, "kakeya-client"));
  await executableAt(join(scratch, "kakeya"));
  writeCommandPackage(packages);
  writePlatformPackage(packages, platform, join(scratch, "kakeya"));
  for (const name of fs.readdirSync(packages)) {
    const pack = ["pm", "pack", "--gzip-level", "1", "--quiet", "--destination", tarballs];
    await succeeds([process.execPath, ...pack], join(packages, name));
  }
}, 120_000);
afterAll(() => fs.rmSync(scratch, { recursive: true, force: true }));

/** Runs a command in `cwd` with an empty home and no registry; answers with what it printed. */
async function succeeds(command: string[], cwd: string, input = ""): Promise<string> {
  const env = { PATH: process.env.PATH ?? "", HOME: join(scratch, "home"), BUN_CONFIG_REGISTRY: "http://127.0.0.1:1/" };
  const child = Bun.spawn(command, { cwd, env, stdin: Buffer.from(input), stdout: "pipe", stderr: "pipe" });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  expect({ command, code: await child.exited, err }).toMatchObject({ code: 0 });
  return out;
}

/** An empty project in which `names` were installed from their tarballs. */
async function projectWith(installer: string[], names: string[]): Promise<string> {
  const project = fs.mkdtempSync(join(scratch, "project-"));
  fs.writeFileSync(join(project, "package.json"), "{}");
  const { version } = (await Bun.file(join(root, "package.json")).json()) as { version: string };
  await succeeds([...installer, ...names.map((name) => join(tarballs, `${name}-${version}.tgz`))], project);
  return project;
}

const installers: [string, string[]][] = [["bun", [process.execPath, "add"]]];
if (Bun.which("npm") !== null) installers.push(["npm", ["npm", "install", "--offline", "--no-audit", "--no-fund"]]);

/** The programs in the README's section for TypeScript, which are JavaScript as well. */
async function readmePrograms(address: string): Promise<{ text: string; ids: string }> {
  const readme = await Bun.file(join(root, "README.md")).text();
  const [section = ""] = readme.match(/^## From TypeScript[\s\S]*?(?=^## )/m) ?? [];
  const [text = "", ids = ""] = [...section.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, program = ""]) => {
    expect(program).toContain('"127.0.0.1:50051"');
    return program.replace("127.0.0.1:50051", address);
  });
  return { text, ids: `const ids = [400, 500, 600];\n${ids}` };
}

describe.each(installers)("installed from the tarballs with %s", (_, installer) => {
  let project: string;
  let server: Bun.Subprocess<"pipe", "pipe", "pipe">;
  let address: string;
  beforeAll(async () => {
    project = await projectWith(installer, ["kakeya-client", "kakeya", `kakeya-${platform}`]);
    const flags = ["--bind", "127.0.0.1:0", "--http", "off", "--json", "--stop-with-stdin"];
    server = Bun.spawn([join(project, "node_modules/.bin/kakeya"), "serve", ...flags], {
      env: { PATH: process.env.PATH ?? "", HOME: join(scratch, "home") },
      stdin: "pipe",
      stdout: "pipe",
      stderr: "pipe",
    });
    address = (await readyAddress(server.stdout)) ?? "";
  }, 120_000);
  afterAll(async () => {
    server.stdin.end();
    await server.exited;
  });

  test("there is nothing but these packages, and no script of theirs", () => {
    const installed = fs.readdirSync(join(project, "node_modules")).filter((name) => !name.startsWith("."));
    expect(installed.sort()).toEqual(["kakeya", "kakeya-client", `kakeya-${platform}`]);
    for (const name of installed) {
      const manifest = JSON.parse(fs.readFileSync(join(project, "node_modules", name, "package.json"), "utf8"));
      expect([manifest.scripts, manifest.dependencies]).toEqual([undefined, undefined]);
    }
  });

  const runtimes = [process.execPath, ...(node === null ? [] : [node])];
  test.each(runtimes.map((path) => [basename(path), path]))("the README's programs run on %s", async (_, runtime) => {
    const { text, ids } = await readmePrograms(address);
    const [first, second] = golden.turns;
    fs.writeFileSync(join(project, "chat.mjs"), text);
    const said = await succeeds([runtime, "chat.mjs"], project, `${first?.question}\n${second?.question}\n`);
    expect(said).toBe(`${first?.text}\n${second?.text}\n`);
    fs.writeFileSync(join(project, "main.mjs"), ids);
    const printed = (await succeeds([runtime, "main.mjs"], project)).split("\n");
    expect(printed.filter((line) => /^\d+$/.test(line)).length).toBeGreaterThan(0);
    expect(printed.join("\n")).toContain("stopReason");
  });

  test("TypeScript finds the client's types, in which nothing is missing", async () => {
    const inText = `import { type Answer, Chat, TemplateError } from "kakeya-client/chat";
      export async function ask(question: string): Promise<Answer | undefined> {
        const chat = await Chat.open(client, { system: "Be brief.", tools: [{ name: "look" }] });
        for await (const event of chat.send(question, { stops: ["."] })) if (event.type === "tool_call") event.name;
        return chat.lastAnswer;
      }
      export const isRefusal = (error: unknown) => error instanceof TemplateError;\n`;
    fs.writeFileSync(join(project, "right.mts"), (await readmePrograms(address)).ids + inText);
    fs.writeFileSync(join(project, "wrong.mts"), 'import { Client } from "kakeya-client";\nnew Client(7);\n');
    const check = (file: string) => {
      const flags = ["--noEmit", "--strict", "--skipLibCheck", "false", "--module", "nodenext", "--target", "esnext"];
      return Bun.spawnSync([...packageCommand("tsc"), ...flags, "--types", "", file], { cwd: project });
    };
    expect(check("right.mts").stdout.toString()).toBe("");
    expect(check("wrong.mts").stdout.toString()).toContain("not assignable to parameter of type 'string'");
  });
});

test("the client for ids takes less than a megabyte, and loads nothing of the one for text", async () => {
  const dir = join(scratch, "packages/kakeya-client");
  const loaded = new Set<string>();
  const load = (file: string) => {
    if (loaded.has(file)) return;
    loaded.add(file);
    const text = fs.readFileSync(file, "utf8");
    for (const [, imported = ""] of text.matchAll(/from "(\.[^"]+)"/g)) load(join(file, "..", imported));
  };
  load(join(dir, "client/index.js"));
  const texts = [...loaded].map((file) => fs.readFileSync(file, "utf8")).join("");
  expect(texts.length).toBeGreaterThan(1e5);
  expect(texts.length).toBeLessThan(1e6);
  expect(texts).not.toContain("node_modules/@huggingface");
  expect(fs.readFileSync(join(dir, "chat/index.js"), "utf8")).toContain("node_modules/@huggingface");
});

test("the package of the executable names what is in it, with the licenses", () => {
  const notices = fs.readFileSync(join(scratch, `packages/kakeya-${platform}/THIRD-PARTY-LICENSES`), "utf8");
  for (const name of ["bun", "onnxruntime-node", "@grpc/grpc-js", "@huggingface/tokenizers", "citty", "uplot"]) {
    const [, text = ""] = notices.match(new RegExp(`^${name} [\\d.]+ \\([^)]+\\)\\n\\n([^]*?)\\n\\n---`, "m")) ?? [];
    expect([name, text]).toEqual([name, expect.stringMatching(/copyright|license/i)]);
  }
  expect(notices).not.toContain("@biomejs/biome");
});

test("the command without its platform's package says which one is missing", async () => {
  const alone = join(scratch, "alone/kakeya");
  fs.cpSync(join(scratch, "packages/kakeya"), alone, { recursive: true });
  const child = Bun.spawnSync([join(alone, "kakeya"), "--version"]);
  expect(child.exitCode).toBe(1);
  expect(child.stderr.toString()).toContain(`the package kakeya-${platform} is missing: install it`);
});
