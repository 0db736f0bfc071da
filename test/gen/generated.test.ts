import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { $, Glob } from "bun";
import { packageCommand } from "../../tools/package-command.ts";

const root = join(import.meta.dir, "../..");
const buf = packageCommand("buf");

async function filesIn(folder: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for await (const path of new Glob("**/*").scan(folder)) files[path] = await Bun.file(join(folder, path)).text();
  return files;
}

test("src/gen is what tools/generate.ts makes of proto/", async () => {
  const folder = mkdtempSync(join(tmpdir(), "kakeya-gen-"));
  await $`${process.execPath} ${join(root, "tools/generate.ts")} ${folder}`.quiet();
  const [made, committed] = [await filesIn(folder), await filesIn(join(root, "src/gen"))];
  rmSync(folder, { recursive: true });
  expect(Object.keys(made).sort()).toEqual(Object.keys(committed).sort());
  // Compared file by file, for a message that names the file and stays short.
  for (const path of Object.keys(made))
    expect({ path, same: made[path] === committed[path] }).toEqual({ path, same: true });
}, 30_000);

test("the contract is lint-free and formatted", async () => {
  expect((await $`${buf} lint`.cwd(root).nothrow().quiet()).stdout.toString()).toBe("");
  expect((await $`${buf} format --diff`.cwd(root).nothrow().quiet()).stdout.toString()).toBe("");
}, 30_000);

test("the contract breaks no client of the first one", async () => {
  const check = (against: string) => $`${buf} breaking proto --against ${against}`.cwd(root).nothrow().quiet();
  expect((await check("test/gen/first-contract")).stdout.toString()).toBe("");
}, 30_000);

test("a field that changes its number or type would be noticed", async () => {
  const folder = mkdtempSync(join(tmpdir(), "kakeya-proto-"));
  const contract = await Bun.file(join(root, "proto/kakeya/v1/runtime.proto")).text();
  const changed = contract.replace("optional uint64 seed = 3;", "optional uint32 seed = 70;");
  expect(changed).not.toBe(contract);
  await Bun.write(join(folder, "kakeya/v1/runtime.proto"), changed);
  const check = await $`${buf} breaking ${folder} --against test/gen/first-contract`.cwd(root).nothrow().quiet();
  rmSync(folder, { recursive: true });
  expect(check.exitCode).not.toBe(0);
  expect(check.stdout.toString()).toContain("seed");
}, 30_000);
