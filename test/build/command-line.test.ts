import { expect, test } from "bun:test";
import { join } from "node:path";

const build = join(import.meta.dir, "../../build.ts");

function run(...args: string[]) {
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, build, ...args]);
  return { code: exitCode, out: stdout.toString(), err: stderr.toString() };
}

test("--help says which targets there are", () => {
  const { code, out, err } = run("--help");
  expect([code, err]).toEqual([0, ""]);
  expect(out).toContain("linux-x64, linux-arm64, darwin-arm64, npm (the packages) or all");
});

test.each([
  [["extra"], 'kakeya: unexpected argument "extra"'],
  [["--traget", "all"], "kakeya: unknown option --traget; did you mean --target?"],
  [["--target", "amiga"], 'kakeya: there is no target "amiga"; choose one of linux-x64, '],
])("%p is refused in words, with nothing built", (args, message) => {
  const { code, out, err } = run(...args);
  expect([code, out]).toEqual([2, ""]);
  expect(err).toStartWith(message);
  expect(err.trimEnd().split("\n")).toHaveLength(2);
});
