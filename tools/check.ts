/**
 * Everything CI runs: `./kakeya test`. With arguments, only the test files they name.
 * The last line is `N passed, N failed`: each static check, each build, each test and the coverage gate count as one.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { coverageFaults, readLcov, sourceFiles } from "./coverage.ts";
import { packageCommand } from "./package-command.ts";

const root = resolve(import.meta.dir, "..");
const bun = process.execPath;
const scratch = mkdtempSync(join(tmpdir(), "kakeya-check-"));

const count = { passed: 0, failed: 0 };

const only = process.argv.slice(2);
if (only.length === 0) {
  await Promise.all([
    run("types", [...packageCommand("tsc"), "--noEmit"]),
    run("lint and format", [...packageCommand("biome"), "ci", "--colors=off", "--error-on-warnings"]),
    run("workflows", [bun, "tools/check-workflows.ts"]),
    run("build of the executable", [bun, "build.ts"]),
    run("build of the SDK", [bun, "build.ts", "--target", "client"]),
  ]);
}
await tests(only);
rmSync(scratch, { recursive: true, force: true });
console.log(`${count.passed} passed, ${count.failed} failed`);
process.exit(count.failed === 0 ? 0 : 1);

/** One check that passes when its command ends with 0; what the command says is shown when it does not. */
async function run(name: string, command: string[]): Promise<void> {
  const startedAt = performance.now();
  const child = Bun.spawn(command, { cwd: root, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const output = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  report(name, (await child.exited) === 0, startedAt, output.join(""));
}

function report(name: string, passed: boolean, startedAt: number, details: string): void {
  count[passed ? "passed" : "failed"] += 1;
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`${passed ? "pass" : "FAIL"}  ${name} (${seconds} s)`);
  if (!passed) console.log(details.trimEnd());
}

async function tests(paths: string[]): Promise<void> {
  const junit = process.env.KAKEYA_JUNIT ?? join(scratch, "junit.xml");
  const coverage = ["--coverage", "--coverage-reporter=lcov", `--coverage-dir=${scratch}`];
  const reporter = ["--reporter=junit", `--reporter-outfile=${junit}`];
  const options = ["--timeout=120000", "--parallel=2", "--only-failures", ...reporter];
  const command = [bun, "test", ...options, ...(paths.length === 0 ? coverage : []), ...paths];
  const code = await Bun.spawn(command, { cwd: root, stdin: "ignore", stdout: "inherit", stderr: "inherit" }).exited;
  const startedAt = performance.now();
  const { tests, failures, skipped } = totalsOf(textOf(junit));
  count.passed += tests - failures - skipped;
  count.failed += failures;
  if (code !== 0 && failures === 0) report("tests", false, startedAt, `bun test ended with ${code}`);
  if (paths.length > 0) return;
  const faults = coverageFaults(readLcov(textOf(join(scratch, "lcov.info"))), sourceFiles(root));
  report("coverage", faults.length === 0, startedAt, faults.join("\n"));
}

/** What a test run wrote; nothing when it ended before it could. */
function textOf(file: string): string {
  return existsSync(file) ? readFileSync(file, "utf8") : "";
}

/** The sums that a JUnit report states in its first element. */
function totalsOf(junit: string): { tests: number; failures: number; skipped: number } {
  const head = junit.match(/<testsuites [^>]*>/)?.[0] ?? "";
  const total = (name: string) => Number(head.match(new RegExp(` ${name}="(\\d+)"`))?.[1] ?? 0);
  return { tests: total("tests"), failures: total("failures"), skipped: total("skipped") };
}
