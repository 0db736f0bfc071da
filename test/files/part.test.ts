import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { adoptDeadPart, earlierPartName, partPath, removeAbandoned, removeDeadParts } from "../../src/files/part.ts";
import { scratchDir } from "../scratch.ts";
import { deadPart } from "./dead-part.ts";

const hourS = 3600;

test("what a dead process left goes at once, a file or a folder; what a live one writes stays", () => {
  using scratch = scratchDir();
  const target = join(scratch.path, "target");
  writeFileSync(deadPart(target), "half");
  mkdirSync(deadPart(target));
  const live = partPath(target);
  writeFileSync(live, "half");
  // Process 1 lives, and belongs to another user unless this is root.
  const init = live.replace(`-${process.pid}-`, "-1-");
  mkdirSync(init);
  removeDeadParts(scratch.path);
  expect(
    readdirSync(scratch.path)
      .map((name) => join(scratch.path, name))
      .sort(),
  ).toEqual([init, live].sort());
});

test("another machine's goes an hour after its last write, since its processes can't be seen", () => {
  using scratch = scratchDir();
  const part = deadPart(join(scratch.path, "target")).replace(/\.[0-9a-f]{8}-/, ".0123abcd-");
  mkdirSync(part);
  writeFileSync(join(part, "weights.bin"), "half");
  utimesSync(join(part, "weights.bin"), 50, 50);
  utimesSync(part, 0, 0);
  removeDeadParts(scratch.path, (50 + hourS) * 1000);
  expect(existsSync(part)).toBe(true);
  removeDeadParts(scratch.path, (51 + hourS) * 1000);
  expect(existsSync(part)).toBe(false);
});

test("in a folder of kakeya's own, what earlier versions left goes an hour after its last write", () => {
  using scratch = scratchDir();
  const left = [
    "kakeya.4711.part",
    "0123abcd.4711-0123456789ab.part",
    "model.part",
    "diary",
    basename(deadPart("now")),
  ];
  for (const name of left) {
    writeFileSync(join(scratch.path, name), "half");
    utimesSync(join(scratch.path, name), 50, 50);
  }
  removeAbandoned(scratch.path, earlierPartName, (50 + hourS) * 1000);
  expect(readdirSync(scratch.path)).toHaveLength(5);
  removeAbandoned(scratch.path, earlierPartName, (51 + hourS) * 1000);
  expect(readdirSync(scratch.path).sort()).toEqual(left.slice(2).sort());
});

test.each(["kakeya.4711.part", "model.part", "a.1-00ff.part", "0123abcd", ".part"])("%s is not ours", (name) => {
  using scratch = scratchDir();
  writeFileSync(join(scratch.path, name), "");
  utimesSync(join(scratch.path, name), 0, 0);
  removeDeadParts(scratch.path);
  expect(readdirSync(scratch.path)).toEqual([name]);
});

test("a folder that is not there is no reason to fail", () => {
  removeDeadParts("/no/such/folder");
});

test("what a dead process left of a file is taken over, once, and nobody else's", () => {
  using scratch = scratchDir();
  const target = join(scratch.path, "target");
  expect(adoptDeadPart(target)).toBeUndefined();
  writeFileSync(deadPart(target), "half");
  writeFileSync(deadPart(`${target}-2`), "another file's");
  writeFileSync(partPath(target), "a live writer's");
  const adopted = adoptDeadPart(target) ?? "";
  expect(readFileSync(adopted, "utf8")).toBe("half");
  expect(adopted).toContain(`-${process.pid}-`);
  expect(adoptDeadPart(target)).toBeUndefined();
  expect(readdirSync(scratch.path)).toHaveLength(3);
});
