import { expect, test } from "bun:test";
import * as fs from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { contentHash, type EmbeddedFile, setHash, unpack } from "../../src/cache/unpack.ts";
import { deadPart } from "../files/dead-part.ts";
import { scratchDir } from "../scratch.ts";

function embedded(dir: string, name: string, content: string): EmbeddedFile {
  const source = join(dir, `source-${name}`);
  fs.writeFileSync(source, content);
  return { name, source, bytes: Buffer.byteLength(content), hash: contentHash(Buffer.from(content)) };
}

test("files arrive under their names, for this user alone, and no part is left", () => {
  using scratch = scratchDir();
  const files = [embedded(scratch.path, "a", "alpha"), embedded(scratch.path, "b", "")];
  const dir = unpack(files, join(scratch.path, "to", "dir"));
  expect(fs.readdirSync(dir).sort()).toEqual(["a", "b"]);
  expect(fs.readFileSync(join(dir, "a"), "utf8")).toBe("alpha");
  expect(fs.statSync(join(dir, "a")).mode & 0o077).toBe(0);
});

test("an intact file is left alone", () => {
  using scratch = scratchDir();
  const files = [embedded(scratch.path, "a", "alpha")];
  const path = join(unpack(files, join(scratch.path, "dir")), "a");
  const { ino } = fs.statSync(path);
  unpack(files, join(scratch.path, "dir"));
  expect(fs.statSync(path).ino).toBe(ino);
});

test("whatever byte was damaged, cut off or added, the file is written again", () => {
  using scratch = scratchDir();
  const content = "a library of some length";
  const files = [embedded(scratch.path, "a", content)];
  const path = join(unpack(files, join(scratch.path, "dir")), "a");
  const damaged = fc.oneof(
    fc.string({ maxLength: 40 }).filter((text) => text !== content),
    fc.nat({ max: content.length - 1 }).map((at) => `${content.slice(0, at)}\u0000${content.slice(at + 1)}`),
  );
  fc.assert(
    fc.property(damaged, (text) => {
      fs.writeFileSync(path, text);
      unpack(files, join(scratch.path, "dir"));
      expect(fs.readFileSync(path, "utf8")).toBe(content);
    }),
    { numRuns: 30 },
  );
});

test("a folder or a link in a file's place makes way", () => {
  using scratch = scratchDir();
  const files = [embedded(scratch.path, "a", "alpha"), embedded(scratch.path, "b", "beta")];
  const dir = join(scratch.path, "dir");
  fs.mkdirSync(join(dir, "a", "full"), { recursive: true, mode: 0o700 });
  fs.writeFileSync(join(scratch.path, "elsewhere"), "beta");
  fs.symlinkSync(join(scratch.path, "elsewhere"), join(dir, "b"));
  unpack(files, dir);
  expect(fs.lstatSync(join(dir, "a")).isFile()).toBe(true);
  expect(fs.lstatSync(join(dir, "b")).isFile()).toBe(true);
});

test("what a process that was killed left goes at the next start, also when all is intact", () => {
  using scratch = scratchDir();
  const files = [embedded(scratch.path, "a", "alpha")];
  const dir = join(scratch.path, "dir");
  unpack(files, dir);
  fs.writeFileSync(deadPart(join(dir, "a")), "al");
  unpack(files, dir);
  expect(fs.readdirSync(dir)).toEqual(["a"]);
});

test("a damaged executable is named, and nothing is put in place", () => {
  using scratch = scratchDir();
  const file = embedded(scratch.path, "a", "alpha");
  fs.writeFileSync(file.source, "alphb");
  const dir = join(scratch.path, "dir");
  expect(() => unpack([file], dir)).toThrow("the executable is damaged (a): copy it again");
  expect(fs.readdirSync(dir)).toEqual([]);
});

test("a folder that others can write to is refused", () => {
  using scratch = scratchDir();
  const dir = join(scratch.path, "dir");
  fs.mkdirSync(dir);
  fs.chmodSync(dir, 0o777);
  expect(() => unpack([embedded(scratch.path, "a", "alpha")], dir)).toThrow("only this user can write to");
});

test("a set's name follows names and contents", () => {
  using scratch = scratchDir();
  const file = embedded(scratch.path, "a", "alpha");
  const names = [[file], [{ ...file, name: "b" }], [{ ...file, hash: contentHash(Buffer.from("beta")) }], []].map(
    setHash,
  );
  expect(new Set(names).size).toBe(4);
});
