import { expect, test } from "bun:test";
import { fsyncSync, mkdtempSync, openSync, readFileSync, rmSync, statfsSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pageOut } from "../../src/files/page-out.ts";

const bytes = 8 << 20;
const folder = mkdtempSync(join(tmpdir(), "kakeya-test-page-out-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

/** statfs(2): a file of this system lives in memory and has nowhere else to go. */
const tmpfsMagic = 0x01021994;
const canReclaim = process.platform === "linux" && statfsSync(folder).type !== tmpfsMagic;

test.skipIf(!canReclaim)("the pages of a mapped file are given back, and read again when needed", () => {
  const { path, mapped } = mappedFile("whole");
  expect(sum(mapped)).toBe(bytes);
  const before = residentKiB(path);
  pageOut(path);
  expect(before).toBe(bytes / 1024);
  expect(residentKiB(path)).toBeLessThan(before / 2);
  expect(sum(mapped)).toBe(bytes);
});

test.skipIf(!canReclaim)("what is mapped with other permissions stays", () => {
  const { path, mapped } = mappedFile("other");
  expect(sum(mapped)).toBe(bytes);
  pageOut(path, "r-xp");
  expect(residentKiB(path)).toBe(bytes / 1024);
});

function mappedFile(name: string): { path: string; mapped: Uint8Array } {
  const path = join(folder, name);
  const fd = openSync(path, "w");
  writeSync(fd, new Uint8Array(bytes).fill(1));
  fsyncSync(fd); // only clean pages can be dropped
  return { path, mapped: Bun.mmap(path) };
}

function sum(values: Uint8Array): number {
  return values.reduce((a, b) => a + b, 0);
}

/** Rss of the mappings of a file in /proc/self/smaps. */
function residentKiB(path: string): number {
  let inFile = false;
  let total = 0;
  for (const line of readFileSync("/proc/self/smaps", "utf8").split("\n")) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) inFile = line.endsWith(path);
    else if (inFile && line.startsWith("Rss:")) total += Number.parseInt(line.slice(4), 10);
  }
  return total;
}
