import { afterAll, beforeAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { buildClient } from "../../build/client.ts";
import { packageCommand } from "../../tools/package-command.ts";
import { type Serving, serving } from "../serve/serving.ts";

const root = resolve(import.meta.dir, "../..");

/** A project that has kakeya as its dependency. */
const project = fs.mkdtempSync(join(tmpdir(), "kakeya-sdk-"));
let server: Serving;
beforeAll(async () => {
  await buildClient();
  fs.mkdirSync(join(project, "node_modules"));
  fs.symlinkSync(root, join(project, "node_modules/kakeya"));
  server = await serving();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  fs.rmSync(project, { recursive: true, force: true });
});

const program = `
import { Client } from "kakeya";
const client = new Client(process.argv[2] ?? "");
const info = await client.runtimeInfo();
const session = await client.createSession();
await session.append([1, 2, 3]);
const ids: number[] = [];
for await (const id of session.generate({ maxTokens: 4 })) ids.push(id);
console.log(JSON.stringify({ model: info.modelId, ids: ids.length }));
await session.close();
client.close();
`;

test.if(Bun.which("node") !== null)("Node.js imports the SDK by the package's name and talks to a server", async () => {
  fs.writeFileSync(join(project, "main.mjs"), program.replace(": number[]", ""));
  const node = Bun.spawn(["node", "main.mjs", server.address], { cwd: project, stdout: "pipe", stderr: "pipe" });
  const [out, err] = await Promise.all([new Response(node.stdout).text(), new Response(node.stderr).text()]);
  expect(err).toBe("");
  expect(JSON.parse(out)).toEqual({ model: "kakeya-tiny", ids: 4 });
});

test("TypeScript finds its types by the package's name", () => {
  fs.writeFileSync(join(project, "main.mts"), program);
  fs.writeFileSync(join(project, "wrong.mts"), 'import { Client } from "kakeya";\nnew Client(7);\n');
  const check = (file: string) =>
    Bun.spawnSync(
      [...packageCommand("tsc"), "--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext"].concat([
        "--target",
        "esnext",
        "--types",
        "node",
        "--typeRoots",
        join(root, "node_modules/@types"),
        file,
      ]),
      { cwd: project },
    );
  const right = check("main.mts");
  expect(right.stdout.toString()).toBe("");
  expect(right.exitCode).toBe(0);
  expect(check("wrong.mts").stdout.toString()).toContain("not assignable to parameter of type");
});
