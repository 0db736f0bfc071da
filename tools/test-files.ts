/** Runs test files, each in a process of its own: what one of them does to its process, it does to itself. */

import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Glob } from "bun";
import { type Coverage, readLcov } from "./coverage.ts";

export interface FileResult {
  file: string;
  passed: number;
  failed: number;
  seconds: number;
  /** Processor time of its process and of the children that it waited for. */
  cpuSeconds: number;
  /** How the process ended, in words, when that was not with a verdict on its tests: "was killed by SIGABRT". */
  crash: string | undefined;
  /** What the process printed: only the tests that failed. */
  output: string;
  /** Its test suites as elements of JUnit's format. */
  suites: string;
  coverage: Map<string, Coverage>;
}

/** The test files whose paths contain one of `parts`; all of them when there are none. */
export function testFiles(root: string, parts: readonly string[]): string[] {
  const all = [...new Glob("test/**/*.test.ts").scanSync(root)].sort();
  const wanted = parts.map((part) => part.replace(/^\.\//, ""));
  return wanted.length === 0 ? all : all.filter((file) => wanted.some((part) => file.includes(part)));
}

/** Parts of the paths of those that take longest. Another order is as right, and takes a little longer. */
const long = [
  "test/engine/exactness",
  "test/launcher/",
  "test/bench/bench",
  "test/build/",
  "test/terminal/",
  "test/state/",
];

/** The files in the order in which they start: the long ones first, so that none is left alone at the end. */
export function longestFirst(files: readonly string[]): string[] {
  const isLong = (file: string) => long.some((part) => file.startsWith(part));
  return [...files.filter(isLong), ...files.filter((file) => !isLong(file))];
}

export interface TestRun {
  /** How many files run at a time. */
  parallel: number;
  /** A folder for what the run leaves. */
  scratch: string;
  /** What is set in the files' environment. */
  env: Record<string, string>;
}

/** Runs `files`, and says each result when it is there. They share one cache: an engine file is built once a run. */
export async function runTestFiles(
  root: string,
  files: readonly string[],
  { parallel, scratch, env }: TestRun,
  onResult: (result: FileResult) => void,
): Promise<FileResult[]> {
  const queue = longestFirst(files);
  const results: FileResult[] = [];
  const shared = { KAKEYA_CACHE_DIR: join(scratch, "cache"), ...env };
  const work = async () => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const result = await runTestFile(root, file, join(scratch, String(queue.length)), shared);
      results.push(result);
      onResult(result);
    }
  };
  await Promise.all(Array.from({ length: parallel }, work));
  return results.sort((a, b) => (a.file < b.file ? -1 : 1));
}

async function runTestFile(
  root: string,
  file: string,
  scratch: string,
  env: Record<string, string>,
): Promise<FileResult> {
  mkdirSync(scratch, { recursive: true });
  const junit = join(scratch, "junit.xml");
  const coverage = ["--coverage", "--coverage-reporter=lcov", `--coverage-dir=${scratch}`];
  const reports = ["--only-failures", "--reporter=junit", `--reporter-outfile=${junit}`, ...coverage];
  const startedAt = performance.now();
  const child = Bun.spawn([process.execPath, "test", "--timeout=120000", ...reports, `./${file}`], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  const code = await child.exited;
  const seconds = (performance.now() - startedAt) / 1000;
  const report = textOf(junit);
  const { tests, failures, skipped } = totalsOf(report);
  const crash = describeCrash(child.signalCode, code, failures);
  return {
    file,
    passed: tests - failures - skipped,
    failed: failures + (crash === undefined ? 0 : 1),
    seconds,
    cpuSeconds: Number(child.resourceUsage()?.cpuTime.total ?? 0) / 1e6,
    crash,
    output: output.join("").trimEnd(),
    suites: crash === undefined ? suitesOf(report) : crashedSuite(file, crash),
    coverage: readLcov(textOf(join(scratch, "lcov.info"))),
  };
}

function describeCrash(signal: string | number | null, code: number, failures: number): string | undefined {
  if (signal !== null) return `was killed by ${signal}`;
  return code !== 0 && failures === 0 ? `ended with code ${code}, and no test failed` : undefined;
}

/** What a test run wrote; nothing when it ended before it could. */
function textOf(path: string): string {
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}

/** The sums that a JUnit report states in its first element. */
function totalsOf(junit: string): { tests: number; failures: number; skipped: number } {
  const head = junit.match(/<testsuites [^>]*>/)?.[0] ?? "";
  const total = (name: string) => Number(head.match(new RegExp(` ${name}="(\\d+)"`))?.[1] ?? 0);
  return { tests: total("tests"), failures: total("failures"), skipped: total("skipped") };
}

function suitesOf(junit: string): string {
  return junit.match(/<testsuites [^>]*>([\s\S]*)<\/testsuites>/)?.[1] ?? "";
}

function crashedSuite(file: string, crash: string): string {
  return `
  <testsuite name="${file}" file="${file}" tests="1" failures="1">
    <testcase name="its process" file="${file}"><failure message="${crash}" /></testcase>
  </testsuite>
`;
}

/** One report in JUnit's format for all files. */
export function junitOf(results: readonly FileResult[]): string {
  const sum = (count: (result: FileResult) => number) => results.reduce((total, result) => total + count(result), 0);
  const failures = sum(({ failed }) => failed);
  const counts = `tests="${sum(({ passed }) => passed) + failures}" failures="${failures}"`;
  return `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="kakeya" ${counts}>${results.map(({ suites }) => suites).join("")}</testsuites>
`;
}
