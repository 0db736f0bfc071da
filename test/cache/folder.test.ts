import { describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheRoots, inFirstUsableRoot, privateDir } from "../../src/cache/folder.ts";
import { scratchDir } from "../scratch.ts";

describe("the cache's place", () => {
  test("on Linux: XDG's, then the home's, then temporary ones", () => {
    const roots = cacheRoots({ XDG_CACHE_HOME: "/xdg", HOME: "/home/ada" }, "linux");
    expect(roots.slice(0, 2)).toEqual(["/xdg/kakeya", "/home/ada/.cache/kakeya"]);
    expect(roots.at(-1)).toMatch(/^\/dev\/shm\/kakeya-\d+$/);
  });

  test("on macOS: Library/Caches, and no /dev/shm", () => {
    const roots = cacheRoots({ HOME: "/Users/ada" }, "darwin");
    expect(roots[0]).toBe("/Users/ada/Library/Caches/kakeya");
    expect(roots.join()).not.toContain("/dev/shm");
  });

  test("the one that the user names is used, and nothing else is", () => {
    expect(cacheRoots({ KAKEYA_CACHE_DIR: "/mine", HOME: "/home/ada" }, "linux")).toEqual(["/mine"]);
  });

  test("is the first usable one; a root whose use fails is passed over", () => {
    using scratch = scratchDir();
    const file = join(scratch.path, "file");
    writeFileSync(file, "");
    const [noexec, good] = [join(scratch.path, "noexec"), join(scratch.path, "good")];
    const use = (root: string) => {
      if (root === noexec) throw new Error("Operation not permitted");
      return root;
    };
    expect(inFirstUsableRoot("test", use, [join(file, "below"), noexec, good])).toBe(good);
  });

  test("when none is usable, the error lists each with its reason, and says what to do", () => {
    using scratch = scratchDir();
    const file = join(scratch.path, "file");
    writeFileSync(file, "");
    const open = join(scratch.path, "open");
    mkdirSync(open);
    chmodSync(open, 0o777);
    const call = () => inFirstUsableRoot("unpack", (root) => root, [file, open]);
    expect(call).toThrow("cannot unpack; set KAKEYA_CACHE_DIR to a folder that only you can write to");
    expect(call).toThrow(file);
    expect(call).toThrow(`${open}: not a folder that only this user can write to`);
  });
});

describe("a private folder", () => {
  test("is made for this user alone, parents included", () => {
    using scratch = scratchDir();
    const dir = join(scratch.path, "a", "b");
    expect(privateDir(dir)).toBe(dir);
    expect(statSync(dir).mode & 0o777).toBe(0o700);
  });

  test("may be this user's link to a private folder", () => {
    using scratch = scratchDir();
    const [dir, link] = [join(scratch.path, "dir"), join(scratch.path, "link")];
    mkdirSync(dir, { mode: 0o700 });
    symlinkSync(dir, link);
    expect(privateDir(link)).toBe(link);
  });

  test("is never one that somebody else owns", () => {
    // The root folder is its system's own, whoever runs this; root itself may write there.
    if (process.getuid?.() === 0) return;
    expect(() => privateDir("/")).toThrow("not a folder that only this user can write to");
  });
});
