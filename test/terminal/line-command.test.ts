import { expect, test } from "bun:test";
import { lineCommands, lineHelp, readLine } from "../../src/terminal/line-command.ts";

test("a slash begins a command, two a message, anything else is a message", () => {
  expect(readLine("  hello /help ")).toEqual({ kind: "message", text: "hello /help" });
  expect(readLine("//etc/passwd?")).toEqual({ kind: "message", text: "/etc/passwd?" });
  expect(readLine(" /stats ")).toEqual({ kind: "command", name: "stats" });
  expect(readLine("/toString")).toEqual({ kind: "unknown", name: "toString" });
  expect(readLine("   ")).toEqual({ kind: "nothing" });
});

test("the help names every command", () => {
  for (const name of Object.keys(lineCommands)) expect(lineHelp).toContain(`/${name}`);
});
