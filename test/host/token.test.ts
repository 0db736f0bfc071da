import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { tokenFrom } from "../../src/host/token.ts";
import { rejection } from "../rejection.ts";
import { testFolder } from "../serve/serving.ts";

function fileWith(text: string): string {
  const path = join(testFolder, "token");
  writeFileSync(path, text);
  return path;
}

test("the option comes before the file, and the file before the environment", async () => {
  const file = fileWith("of-the-file\n");
  expect(await tokenFrom({ flag: "of-the-option", file, environment: "of-the-environment" })).toBe("of-the-option");
  expect(await tokenFrom({ file, environment: "of-the-environment" })).toBe("of-the-file");
  expect(await tokenFrom({ environment: "of-the-environment" })).toBe("of-the-environment");
});

test("nothing given means no token; an empty one is refused, since it would quietly mean none", async () => {
  expect(await tokenFrom({})).toBeUndefined();
  expect((await rejection(tokenFrom({ environment: "" }))).message).toContain("KAKEYA_TOKEN: the token is empty");
  expect((await rejection(tokenFrom({ flag: "" }))).message).toContain("--token: the token is empty");
});

test("an empty file, a missing one and a token that no header can carry are refused", async () => {
  expect((await rejection(tokenFrom({ file: fileWith(" \n") }))).message).toContain("the token is empty");
  expect((await rejection(tokenFrom({ file: "/nowhere" }))).message).toContain("--token-file /nowhere: ENOENT");
  for (const flag of ["two words", "tëst", "line\nbreak"]) {
    expect((await rejection(tokenFrom({ flag }))).message).toContain("printable ASCII");
  }
});
