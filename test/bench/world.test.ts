import { expect, test } from "bun:test";
import { commandLine } from "../../src/bench/world.ts";

test("a report never holds the token of its command line", () => {
  const typed = ["bench", "--token", "secret", "--token=secret", "--turns", "3"];
  expect(commandLine(typed)).toEqual(["kakeya", "bench", "--token", "***", "--token=***", "--turns", "3"]);
});
