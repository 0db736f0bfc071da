import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { annotations } from "../../tools/annotate-failures.ts";
import { scratchDir } from "../scratch.ts";

test("each failure of a real report becomes one line that points at its file; what passed or was skipped none", async () => {
  using scratch = scratchDir();
  const source = `import { expect, test } from "bun:test";
test("passes", () => {});
test("100% of a: <b>, \\"c\\"", () => expect(1).toBe(2));
test.skip("skipped", () => {});
`;
  writeFileSync(join(scratch.path, "some.test.ts"), source);
  const junit = join(scratch.path, "junit.xml");
  const command = [process.execPath, "test", "--reporter=junit", `--reporter-outfile=${junit}`, "./some.test.ts"];
  await Bun.spawn(command, { cwd: scratch.path, stdout: "ignore", stderr: "ignore" }).exited;
  expect(annotations(await Bun.file(junit).text())).toEqual([
    '::error file=some.test.ts,line=3,title=100%25 of a%3A <b>%2C "c"::' +
      "expect(received).toBe(expected)%0A%0AExpected: 2%0AReceived: 1%0A",
  ]);
});
