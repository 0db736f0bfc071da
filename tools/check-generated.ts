/** Fails when `src/gen` is not what `proto/` gives: `bun tools/check-generated.ts`. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dir, "..");
const fresh = mkdtempSync(join(tmpdir(), "kakeya-generated-"));
try {
  const generate = Bun.spawnSync([process.execPath, "tools/generate.ts", fresh], { cwd: root, stderr: "inherit" });
  if (generate.exitCode !== 0) process.exit(generate.exitCode);
  const difference = Bun.spawnSync(["diff", "-ru", "src/gen", fresh], { cwd: root, stdout: "inherit" });
  if (difference.exitCode !== 0) console.error("src/gen is out of date: run bun tools/generate.ts, and commit");
  process.exitCode = difference.exitCode;
} finally {
  rmSync(fresh, { recursive: true, force: true });
}
