import { expect, test } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomically } from "../../src/files/atomic-file.ts";
import { scratchDir } from "../scratch.ts";
import { smallDisk, whyNoSmallDisk } from "./small-disk.ts";

test.each([
  ["text", "kakeya"],
  ["bytes", new TextEncoder().encode("kakeya")],
  ["pieces", ["ka", "", "keya"]],
])("%s takes the place of what was there, and nothing is left beside it", (_, content) => {
  using scratch = scratchDir();
  const path = join(scratch.path, "file");
  writeFileSync(path, "something longer than the new");
  writeFileAtomically(path, content);
  expect(readFileSync(path, "utf8")).toBe("kakeya");
  expect(readdirSync(scratch.path)).toEqual(["file"]);
});

test("a file keeps its mode; a new one has the one that is asked for, or the umask's", () => {
  using scratch = scratchDir();
  const mode = (name: string) => statSync(join(scratch.path, name)).mode & 0o777;
  writeFileSync(join(scratch.path, "kept"), "old");
  chmodSync(join(scratch.path, "kept"), 0o640);
  writeFileAtomically(join(scratch.path, "kept"), "new");
  writeFileAtomically(join(scratch.path, "asked"), "new", { mode: 0o700 });
  writeFileAtomically(join(scratch.path, "new"), "new");
  expect([mode("kept"), mode("asked"), mode("new")]).toEqual([0o640, 0o700, 0o666 & ~process.umask()]);
});

test("a write that fails leaves the old file as it was, and names it", () => {
  using scratch = scratchDir();
  const path = join(scratch.path, "file");
  writeFileSync(path, "old");
  const broken = (function* () {
    yield "half";
    throw new Error("no more");
  })();
  expect(() => writeFileAtomically(path, broken)).toThrow(`can't write ${path}: no more`);
  expect(readFileSync(path, "utf8")).toBe("old");
  expect(readdirSync(scratch.path)).toEqual(["file"]);
});

test("a missing folder, or a folder in the file's place, is an error that names the path", () => {
  using scratch = scratchDir();
  const missing = join(scratch.path, "no/file");
  expect(() => writeFileAtomically(missing, "new")).toThrow(`can't write ${missing}: ENOENT`);
  const folder = join(scratch.path, "folder");
  mkdirSync(folder);
  expect(() => writeFileAtomically(folder, "new")).toThrow(`can't write ${folder}: EISDIR`);
  expect(readdirSync(scratch.path)).toEqual(["folder"]);
});

const reason = whyNoSmallDisk();
test.skipIf(reason !== undefined)(`a full disk leaves the old file${reason ? ` (skipped: ${reason})` : ""}`, () => {
  using disk = smallDisk(64 << 10);
  const path = join(disk.path, "file");
  writeFileAtomically(path, "old");
  expect(() => writeFileAtomically(path, new Uint8Array(1 << 20))).toThrow(`can't write ${path}: ENOSPC`);
  expect(readFileSync(path, "utf8")).toBe("old");
  expect(readdirSync(disk.path)).toEqual(["file"]);
});
