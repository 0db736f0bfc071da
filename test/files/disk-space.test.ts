import { expect, test } from "bun:test";
import { tmpdir } from "node:os";
import { describeFileFailure, requireFreeSpace } from "../../src/files/disk-space.ts";
import { FileError } from "../../src/files/file-error.ts";

test("Space that no disk has is refused with both numbers", () => {
  expect(() => requireFreeSpace(tmpdir(), 2 ** 70)).toThrow(
    /takes 1180591620717411\.\d MB, and \d+\.\d MB are free here/,
  );
  requireFreeSpace(tmpdir(), 1);
});

test.each([
  ["ENOSPC", /^\/cache: the disk is full \(why\)\. Free some space/],
  ["EDQUOT", /the disk is full/],
  ["EFBIG", /the disk is full/],
  ["EACCES", /^\/cache: can't be written \(why\)\. Make it writable, or set KAKEYA_CACHE_DIR/],
  ["EROFS", /can't be written/],
])("%s becomes an error that says what to do", (code, message) => {
  const failure = describeFileFailure("/cache", Object.assign(new Error("why"), { code }));
  expect(failure).toBeInstanceOf(FileError);
  expect(String(failure).replace("FileError: ", "")).toMatch(message);
});

test("The failing path is named where the system says it", () => {
  const failure = describeFileFailure("/cache", Object.assign(new Error("why"), { code: "EACCES", path: "/cache/x" }));
  expect(String(failure)).toContain("/cache/x: ");
});

test.each([
  ["a bug", new Error("a bug")],
  ["a failing device", Object.assign(new Error("x"), { code: "EIO" })],
  ["an error that is said already", new FileError("f", "p", "r")],
  ["what is no error", "text"],
])("%s stays what it is", (_, error) => {
  expect(describeFileFailure("/cache", error)).toBe(error);
});
