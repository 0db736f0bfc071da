/**
 * Everything CI runs: `./kakeya test`. With arguments, only the test files they name.
 * The last line is `N passed, N failed`: each static check, each build, each test and the coverage gate count as one.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { asked as gpu } from "../test/gpu/device.ts";
import { testSeed } from "../test/seed.ts";
import { postgresPrograms } from "../test/state/postgres-programs.ts";
import { coverageFaults, isJudgedWith, sourceFiles, sumOfCoverage } from "./coverage.ts";
import { packageCommand } from "./package-command.ts";
import { junitOf, runTestFiles, testFiles } from "./test-files.ts";

const root = resolve(import.meta.dir, "..");
const bun = process.execPath;
const scratch = mkdtempSync(join(tmpdir(), "kakeya-check-"));

const count = { passed: 0, failed: 0 };
/** What the tests start, where it is built: see `test/program.ts`. */
let built: Record<string, string> = {};

const only = process.argv.slice(2);
const files = testFiles(root, only);
if (files.length === 0) {
  console.error(`test: no test file's path contains ${only.join(" or ")}`);
  process.exit(2);
}
if (only.length === 0) {
  await Promise.all([
    run("types", [...packageCommand("tsc"), "--noEmit"]),
    run("lint and format", [...packageCommand("biome"), "ci", "--colors=off", "--error-on-warnings"]),
    run("workflows", [bun, "tools/check-workflows.ts"]),
    run("build of the executable and the packages", [bun, "build.ts", "--target", "npm"]),
  ]);
  if (count.failed === 0) built = { KAKEYA_TEST_EXECUTABLE: join(root, "dist/kakeya") };
}
await tests();
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

async function tests(): Promise<void> {
  console.log(`seed  ${testSeed} (KAKEYA_TEST_SEED)`);
  const results = await runTestFiles(root, files, { parallel: 2, scratch, env: built }, (result) => {
    count.passed += result.passed;
    count.failed += result.failed;
    const { file, passed, failed, seconds, cpuSeconds, crash } = result;
    if (failed > 0) console.log(result.output);
    const verdict = crash === undefined ? `${passed} passed, ${failed} failed` : `its process ${crash}`;
    console.log(
      `${failed === 0 ? "pass" : "FAIL"}  ${file}: ${verdict} (${seconds.toFixed(1)} s, ${cpuSeconds.toFixed(1)} s of processor time)`,
    );
  });
  if (process.env.KAKEYA_JUNIT !== undefined) writeFileSync(process.env.KAKEYA_JUNIT, junitOf(results));
  if (only.length > 0) return;
  const crashed = results.filter(({ crash }) => crash !== undefined);
  if (crashed.length > 0) {
    console.log(`coverage is not judged without ${crashed.map(({ file }) => file).join(", ")}`);
    return;
  }
  const startedAt = performance.now();
  const here = { gpu, postgres: postgresPrograms !== undefined };
  const judged = sourceFiles(root).filter(({ path }) => isJudgedWith(here, path));
  const faults = coverageFaults(sumOfCoverage(results.map(({ coverage }) => coverage)), judged);
  report("coverage", faults.length === 0, startedAt, faults.join("\n"));
}
