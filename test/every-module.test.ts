import { expect, test } from "bun:test";
import { join, resolve } from "node:path";
import { sourceFiles } from "../tools/coverage.ts";

const root = resolve(import.meta.dir, "..");
/** They begin to work when loaded: the program, and what runs in threads. */
const programs = ["src/main.ts", "src/engine/worker.ts", "src/graph/weight-worker.ts", "src/state/state-worker.ts"];

// Also what makes the coverage gate honest: a file that nothing loads has no lines to miss.
test.each(sourceFiles(root).filter((path) => !programs.includes(path)))("%s loads by itself", async (path) => {
  expect(await import(join(root, path))).toBeObject();
});
