import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { annotations } from "../../tools/annotate-failures.ts";
import { type FileResult, junitOf, longestFirst, runTestFiles, testFiles } from "../../tools/test-files.ts";
import { scratchDir } from "../scratch.ts";

const header = `import { expect, test } from "bun:test";\n`;
const sources = {
  "test/aborts.test.ts": `${header}test("one", () => {}); test("two", () => process.kill(process.pid, "SIGABRT"));`,
  "test/exits.test.ts": `${header}test("leaves", () => process.exit(9));`,
  "test/fails.test.ts": `${header}test("right", () => {}); test("wrong", () => expect(1).toBe(2));`,
  "test/kv/passes.test.ts": `${header}import { twice } from "../../src/twice.ts";
test("doubles", () => expect(twice(2)).toBe(4)); test.skip("skipped", () => {});`,
};

describe("test files in processes of their own", () => {
  const scratch = scratchDir();
  let results: FileResult[];
  beforeAll(async () => {
    mkdirSync(join(scratch.path, "test/kv"), { recursive: true });
    mkdirSync(join(scratch.path, "src"));
    writeFileSync(join(scratch.path, "src/twice.ts"), "export function twice(n: number) {\n  return 2 * n;\n}\n");
    for (const [file, source] of Object.entries(sources)) writeFileSync(join(scratch.path, file), source);
    const files = testFiles(scratch.path, []);
    const options = { parallel: 2, scratch: join(scratch.path, "out"), env: {} };
    results = await runTestFiles(scratch.path, files, options, () => {});
  });
  afterAll(() => scratch[Symbol.dispose]());

  test("one that is killed is reported by its signal, and the others run all the same", () => {
    expect(results.map(({ file, passed, failed, crash }) => ({ file, passed, failed, crash }))).toEqual([
      { file: "test/aborts.test.ts", passed: 0, failed: 1, crash: "was killed by SIGABRT" },
      { file: "test/exits.test.ts", passed: 0, failed: 1, crash: "ended with code 9, and no test failed" },
      { file: "test/fails.test.ts", passed: 1, failed: 1, crash: undefined },
      { file: "test/kv/passes.test.ts", passed: 1, failed: 0, crash: undefined },
    ]);
  });

  test("each says which lines it covered, and prints what failed alone", () => {
    expect(results[3]?.coverage.get("src/twice.ts")?.get(2)).toBe(1);
    expect(results[2]?.output).toContain("(fail) wrong");
    expect(results[2]?.output).not.toContain("right");
  });

  test("their JUnit report is one, and a crash is in it", () => {
    const report = junitOf(results);
    expect(report).toContain('<testsuites name="kakeya" tests="5" failures="3">');
    expect(annotations(report)).toEqual([
      "::error file=test/aborts.test.ts,line=1,title=its process::was killed by SIGABRT",
      "::error file=test/exits.test.ts,line=1,title=its process::ended with code 9, and no test failed",
      expect.stringContaining("::error file=test/fails.test.ts,line=2,title=wrong::"),
    ]);
  });

  test("a part of a path chooses the files that contain it", () => {
    expect(testFiles(scratch.path, ["test/kv", "./test/fails"])).toEqual([
      "test/fails.test.ts",
      "test/kv/passes.test.ts",
    ]);
    expect(testFiles(scratch.path, ["nosuch"])).toEqual([]);
  });
});

test("the files that take longest start first, and each of them is there", () => {
  const all = testFiles(join(import.meta.dir, "../.."), []);
  const order = longestFirst(all);
  expect(order.toSorted()).toEqual(all);
  expect(order.indexOf("test/terminal/chat.test.ts")).toBeLessThan(order.indexOf("test/cache/folder.test.ts"));
  expect(order.at(-1)).toBe(all.at(-1) ?? "");
});
