import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { newPartFolder, publishFolder, removeDeadPartFolders } from "../../src/files/part-folder.ts";
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

test("Only part folders that are quiet, and whose writer is dead, are removed", () => {
  using scratch = scratchDir();
  const deadPid = Bun.spawnSync(["true"]).pid;
  const names = {
    dead: `a.${deadPid}-00ff.part`,
    alive: `a.${process.pid}-00ff.part`,
    init: "a.1-00ff.part",
    written: `b.${deadPid}-00ff.part`,
    whole: "0123abcd",
  };
  for (const name of Object.values(names)) {
    mkdirSync(join(scratch.path, name));
    utimesSync(join(scratch.path, name), 1000, 1000);
  }
  const file = join(scratch.path, names.written, "weights.bin");
  writeFileSync(file, "");
  utimesSync(file, 1050, 1050);
  utimesSync(join(scratch.path, names.written), 1000, 1000);

  removeDeadPartFolders(scratch.path, 1_610_000);
  expect(
    Object.entries(names)
      .filter(([, name]) => !existsSync(join(scratch.path, name)))
      .map(([what]) => what),
  ).toEqual(["dead"]);
  removeDeadPartFolders(scratch.path, 1_660_000);
  expect(existsSync(join(scratch.path, names.written))).toBe(false);
  removeDeadPartFolders(join(scratch.path, "nowhere"));
});
