import { expect, test } from "bun:test";
import { UsageError } from "../../src/cli/exit.ts";
import { passedOnFlags, serverFlags } from "../../src/connection/server-flags.ts";

test("the server's flags are passed on as they were given, and no others", () => {
  const given = { model: "some dir", window: "256", quant: undefined, duration: "1h" };
  expect(passedOnFlags(serverFlags, given, undefined)).toEqual(["--model", "some dir", "--window", "256"]);
});

test("a server that runs already can't be given any", () => {
  expect(passedOnFlags(serverFlags, { duration: "1h" }, "127.0.0.1:1")).toEqual([]);
  expect(() => passedOnFlags(serverFlags, { quant: "q4" }, "127.0.0.1:1")).toThrow(UsageError);
  expect(() => passedOnFlags(serverFlags, { quant: "q4" }, "127.0.0.1:1")).toThrow("--quant is for a server");
});
