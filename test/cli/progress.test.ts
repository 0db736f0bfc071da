import { expect, test } from "bun:test";
import { progress, showBytes } from "../../src/cli/progress.ts";

function terminal(isTTY: boolean) {
  const written: string[] = [];
  return { isTTY, columns: 20, written, write: (text: string) => written.push(text) };
}

const erase = "\r\x1b[2K";

test("on a terminal a line replaces the one before, at most ten times a second, and is gone at the end", () => {
  const screen = terminal(true);
  let nowMs = 0;
  const line = progress(screen, () => nowMs);
  line.update("one");
  nowMs = 99;
  line.update("too soon");
  nowMs = 100;
  line.update("two");
  line.end();
  expect(screen.written).toEqual([`${erase}one`, `${erase}two`, erase]);
});

test("a line never wraps", () => {
  const screen = terminal(true);
  progress(screen, () => 0).update("x".repeat(50));
  expect(screen.written).toEqual([`${erase}${"x".repeat(19)}`]);
});

test("a line's room follows the terminal, and is the usual 80 where the terminal does not know", () => {
  const screen = terminal(true);
  const line = progress(screen, () => 0);
  expect(line.columns).toBe(19);
  screen.columns = 132;
  expect(line.columns).toBe(131);
  screen.columns = 0;
  expect(line.columns).toBe(79);
});

test("elsewhere nothing is written", () => {
  const pipe = terminal(false);
  const line = progress(pipe, () => 0);
  line.update("one");
  line.end();
  expect(pipe.written).toEqual([]);
});

test("bytes are shown as done, of how many, and how fast", () => {
  const shown: string[] = [];
  let nowMs = 1000;
  const show = showBytes({ columns: 80, update: (text) => shown.push(text), end() {} }, "preparing", () => nowMs);
  nowMs = 3000;
  show({ doneBytes: 4 << 20, totalBytes: 8 << 20 });
  expect(shown).toEqual(["preparing: 4 MiB of 8 MiB, 2 MiB/s"]);
});
