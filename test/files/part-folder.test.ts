import { expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { newPartFolder, publishFolder } from "../../src/files/part-folder.ts";
import { scratchDir } from "../scratch.ts";

function finishedPart(target: string, content: string): string {
  const part = newPartFolder(target);
  writeFileSync(join(part, "file"), content);
  return part;
}

test("A finished folder takes its place", () => {
  using scratch = scratchDir();
  const target = join(scratch.path, "target");
  expect(publishFolder(finishedPart(target, "ours"), target, () => undefined)).toBeUndefined();
  expect(readFileSync(join(target, "file"), "utf8")).toBe("ours");
});

test("Where another one is there already and is whole, it stays", () => {
  using scratch = scratchDir();
  const target = join(scratch.path, "target");
  publishFolder(finishedPart(target, "theirs"), target, () => undefined);
  expect(publishFolder(finishedPart(target, "ours"), target, () => "whole")).toBe("whole");
  expect(readFileSync(join(target, "file"), "utf8")).toBe("theirs");
});

test.each(["folder", "file"])("An unusable %s in the way is replaced", (kind) => {
  using scratch = scratchDir();
  const target = join(scratch.path, "target");
  if (kind === "file") writeFileSync(target, "damaged");
  else publishFolder(finishedPart(target, "damaged"), target, () => undefined);
  expect(publishFolder(finishedPart(target, "ours"), target, () => undefined)).toBeUndefined();
  expect(readFileSync(join(target, "file"), "utf8")).toBe("ours");
  expect(readdirSync(scratch.path)).toEqual(["target"]);
});

test("A failure that nobody foresaw is not swallowed", () => {
  using scratch = scratchDir();
  const part = finishedPart(join(scratch.path, "target"), "ours");
  expect(() => publishFolder(part, join(scratch.path, "nowhere", "target"), () => undefined)).toThrow("ENOENT");
});
