import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { type DestinationRules, destination } from "../../src/files/destination.ts";
import { FileError } from "../../src/files/file-error.ts";
import { writeTo } from "../../src/files/write-to.ts";
import { rejection } from "../rejection.ts";
import { scratchDir } from "../scratch.ts";
import { smallDisk, whyNoSmallDisk } from "./small-disk.ts";

const rules: DestinationRules = { inputs: [], isOurs: (head) => head.startsWith("ours"), force: false };
const isRoot = process.geteuid?.() === 0;

async function write(path: string, content: string, change: Partial<DestinationRules> = {}): Promise<void> {
  await writeTo(destination(path, { ...rules, ...change }), content);
}

function file(folder: string, name: string, content: string): string {
  const path = join(folder, name);
  fs.writeFileSync(path, content);
  return path;
}

/** Expects a refusal that names the path, and that nothing in the folder has changed. */
function refuses(folder: string, path: string, message: RegExp, change: Partial<DestinationRules> = {}): void {
  const before = stateOf(folder);
  let error: unknown;
  try {
    destination(path, { ...rules, ...change });
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(FileError);
  expect(String(error)).toStartWith(`FileError: ${path}: `);
  expect(String(error)).toMatch(message);
  expect(stateOf(folder)).toEqual(before);
}

function stateOf(folder: string) {
  return fs.readdirSync(folder).map((name) => {
    const { ino, mode, size, mtimeMs } = fs.lstatSync(join(folder, name));
    return { name, ino, mode, size, mtimeMs };
  });
}

describe("a file", () => {
  test("that is not there yet is written, and its folder made", async () => {
    using scratch = scratchDir();
    const path = join(scratch.path, "a/b/out");
    await write(path, "new");
    expect(fs.readFileSync(path, "utf8")).toBe("new");
    expect(fs.readdirSync(join(scratch.path, "a/b"))).toEqual(["out"]);
  });

  test("is only decided upon until it is written", () => {
    using scratch = scratchDir();
    const path = file(scratch.path, "out", "ours, old");
    destination(path, rules);
    destination(join(scratch.path, "new"), rules);
    expect(fs.readdirSync(scratch.path)).toEqual(["out"]);
    expect(fs.readFileSync(path, "utf8")).toBe("ours, old");
  });

  test("of ours, and an empty one, is replaced; another one only by force", async () => {
    using scratch = scratchDir();
    for (const old of ["ours, old", ""]) {
      const path = file(scratch.path, "out", old);
      await write(path, "ours, new");
      expect(fs.readFileSync(path, "utf8")).toBe("ours, new");
    }
    const notes = file(scratch.path, "notes", "my notes");
    refuses(scratch.path, notes, /already exists, and kakeya did not write it\. .* --force\.$/);
    await write(notes, "new", { force: true });
    expect(fs.readFileSync(notes, "utf8")).toBe("new");
  });

  test("that came while the work went on is left alone", async () => {
    using scratch = scratchDir();
    const path = join(scratch.path, "out");
    const decided = destination(path, rules);
    fs.writeFileSync(path, "somebody's");
    expect((await rejection(writeTo(decided, "new"))).message).toContain("kakeya did not write it");
    expect(fs.readFileSync(path, "utf8")).toBe("somebody's");
  });

  test("that was replaced by a FIFO is not written", async () => {
    using scratch = scratchDir();
    const path = join(scratch.path, "out");
    const decided = destination(path, rules);
    spawnSync("mkfifo", [path]);
    expect((await rejection(writeTo(decided, "new"))).message).toContain(`can't write ${path}: `);
    expect(fs.lstatSync(path).isFIFO()).toBe(true);
  });
});

describe("a link", () => {
  test.each(["absolute", "relative"])("stays one: its %s target is written", async (kind) => {
    using scratch = scratchDir();
    fs.mkdirSync(join(scratch.path, "there"));
    const target = file(scratch.path, "there/target", "ours, old");
    const link = join(scratch.path, "link");
    fs.symlinkSync(kind === "absolute" ? target : "there/target", link);
    await write(link, "ours, new");
    expect(fs.lstatSync(link).isSymbolicLink()).toBe(true);
    expect(fs.lstatSync(target).isFile()).toBe(true);
    expect(fs.readFileSync(target, "utf8")).toBe("ours, new");
    expect(fs.readdirSync(join(scratch.path, "there"))).toEqual(["target"]);
  });

  test("over links to where nothing is yet makes the file there", async () => {
    using scratch = scratchDir();
    fs.symlinkSync("second", join(scratch.path, "first"));
    fs.symlinkSync("new", join(scratch.path, "second"));
    await write(join(scratch.path, "first"), "new");
    expect(fs.readdirSync(scratch.path).sort()).toEqual(["first", "new", "second"]);
    expect(fs.lstatSync(join(scratch.path, "new")).isFile()).toBe(true);
  });

  test("to a file that is not ours, or to itself, is refused", () => {
    using scratch = scratchDir();
    file(scratch.path, "notes", "my notes");
    fs.symlinkSync("notes", join(scratch.path, "link"));
    fs.symlinkSync("loop", join(scratch.path, "loop"));
    refuses(scratch.path, join(scratch.path, "link"), /kakeya did not write it/);
    refuses(scratch.path, join(scratch.path, "loop"), /leads to itself/);
  });
});

describe("an input is never written over, also by force", () => {
  test.each([
    ["by its own name", (input: string) => input],
    ["by a detour", (input: string) => input.replace(/\/([^/]+)\/in$/, "/$1/../$1/in")],
    [
      "by a link",
      (input: string, folder: string) => {
        fs.symlinkSync(input, join(folder, "link"));
        return join(folder, "link");
      },
    ],
    [
      "by a hard link",
      (input: string, folder: string) => {
        fs.linkSync(input, join(folder, "other"));
        return join(folder, "other");
      },
    ],
  ])("%s", (_, nameOf) => {
    using scratch = scratchDir();
    const input = file(scratch.path, "in", "ours");
    const output = nameOf(input, scratch.path);
    refuses(scratch.path, output, /is also an input/, { inputs: ["/no/such/file", input], force: true });
  });

  test("when the input is itself given by a link", () => {
    using scratch = scratchDir();
    const input = file(scratch.path, "in", "ours");
    fs.symlinkSync("in", join(scratch.path, "link"));
    refuses(scratch.path, input, /is also an input/, { inputs: [join(scratch.path, "link")] });
  });
});

describe("what is no file", () => {
  test("a FIFO is written as a stream, and stays one", async () => {
    using scratch = scratchDir();
    const path = join(scratch.path, "fifo");
    spawnSync("mkfifo", [path]);
    const reader = Bun.spawn(["cat", path], { stdout: "pipe" });
    await write(path, "through the pipe");
    expect(await new Response(reader.stdout).text()).toBe("through the pipe");
    expect(fs.lstatSync(path).isFIFO()).toBe(true);
  });

  test("a FIFO whose reader goes away has given it what it wanted", async () => {
    using scratch = scratchDir();
    const path = join(scratch.path, "fifo");
    spawnSync("mkfifo", [path]);
    const reader = Bun.spawn(["head", "-c", "1", path], { stdout: "ignore" });
    await write(path, "x".repeat(10_000_000));
    expect(await reader.exited).toBe(0);
  });

  test.if(isRoot)("a device stays one; a full one is an error that names it", async () => {
    using scratch = scratchDir();
    const [nothing, full] = [join(scratch.path, "null"), join(scratch.path, "full")];
    if (spawnSync("mknod", [nothing, "c", "1", "3"]).status !== 0) return;
    spawnSync("mknod", [full, "c", "1", "7"]);
    await write(nothing, "gone");
    expect((await rejection(write(full, "too much"))).message).toStartWith(`can't write ${full}: ENOSPC`);
    for (const path of [nothing, full]) expect(fs.lstatSync(path).isCharacterDevice()).toBe(true);
    expect(fs.readdirSync(scratch.path).sort()).toEqual(["full", "null"]);
  });

  test.if(isRoot)("a disk is refused", () => {
    using scratch = scratchDir();
    const path = join(scratch.path, "disk");
    // A loop device of no number in use: it is never opened.
    if (spawnSync("mknod", [path, "b", "7", "999"]).status !== 0) return;
    refuses(scratch.path, path, /is a disk/);
  });

  test("a folder is refused, by name or by slash", () => {
    using scratch = scratchDir();
    fs.mkdirSync(join(scratch.path, "folder"));
    refuses(scratch.path, join(scratch.path, "folder"), /is a folder\. Name a file\.$/, { force: true });
    refuses(scratch.path, `${join(scratch.path, "none")}/`, /is a folder/);
  });

  test("a socket is refused", async () => {
    using scratch = scratchDir();
    const path = join(scratch.path, "socket");
    const server = createServer().listen(path);
    await new Promise((resolve) => server.once("listening", resolve));
    refuses(scratch.path, path, /is a socket/, { force: true });
    server.close();
  });

  test("- and the names of descriptor 1 are the standard output, a link to them as well", () => {
    using scratch = scratchDir();
    fs.symlinkSync("/dev/stdout", join(scratch.path, "link"));
    for (const path of ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", join(scratch.path, "link")]) {
      expect(destination(path, rules).kind).toBe("stdout");
    }
    expect(destination("/dev/stderr", rules).kind).toBe("stream");
  });
});

describe("what can't be written is refused before the work", () => {
  test("a file in the folder's place", () => {
    using scratch = scratchDir();
    file(scratch.path, "file", "ours");
    refuses(scratch.path, join(scratch.path, "file/out"), /can't be written \(ENOTDIR/);
  });

  test("a folder that takes no files, whoever asks", () => {
    expect(() => destination("/proc/kakeya", rules)).toThrow("/proc/kakeya: can't be written (ENOENT");
    expect(() => destination("/proc/no/such/out", rules)).toThrow("/proc/no/such/out: can't be written (ENOENT");
  });

  const reason = whyNoSmallDisk();
  test.skipIf(reason !== undefined)(`a read-only disk${reason ? ` (skipped: ${reason})` : ""}`, () => {
    using disk = smallDisk(1 << 16);
    const path = file(disk.path, "old", "ours");
    disk.remount("ro");
    refuses(disk.path, join(disk.path, "out"), /can't be written \(EROFS/);
    refuses(disk.path, join(disk.path, "no/out"), /can't be written \(EROFS/);
    refuses(disk.path, path, /can't be written \(EROFS/);
  });

  // Root may write everywhere.
  test.if(!isRoot)("a folder or a file without the permission", () => {
    using scratch = scratchDir();
    const path = file(scratch.path, "out", "ours");
    fs.chmodSync(path, 0o400);
    refuses(scratch.path, path, /can't be written \(EACCES/);
    fs.chmodSync(scratch.path, 0o500);
    refuses(scratch.path, join(scratch.path, "new"), /can't be written \(EACCES/);
    fs.chmodSync(scratch.path, 0o700);
  });
});
