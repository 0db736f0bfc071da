import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Glob } from "bun";

/** Of one source file: how often each line ran that a test could run. */
export type Coverage = Map<number, number>;

/** Reads an lcov tracefile: one entry a source file, its path as written there. */
export function readLcov(text: string): Map<string, Coverage> {
  const files = new Map<string, Coverage>();
  for (const record of text.split("end_of_record")) {
    const file = record.match(/^SF:(.+)$/m)?.[1];
    if (file === undefined) continue;
    const hits = [...record.matchAll(/^DA:(\d+),(\d+)/gm)];
    files.set(file, new Map(hits.map(([, line, count]) => [Number(line), Number(count)])));
  }
  return files;
}

/** What several runs covered together. */
export function sumOfCoverage(runs: readonly ReadonlyMap<string, Coverage>[]): Map<string, Coverage> {
  const sum = new Map<string, Coverage>();
  for (const run of runs) {
    for (const [file, lines] of run) {
      const total = sum.get(file) ?? new Map<number, number>();
      for (const [line, count] of lines) total.set(line, (total.get(line) ?? 0) + count);
      sum.set(file, total);
    }
  }
  return sum;
}

/** Files that no line of may be left out: pure functions, where a line that no test runs is a guess. */
const complete = /^src\/(kv\/.*|report\/(aggregate|gates|stats))\.ts$/;
const restShare = 0.9;

/** What only runs where there is such a thing, and where its tests are asked for. */
const needs = {
  postgres: /^src\/state\/postgres\//,
  gpu: /^src\/(engine\/gpu-|graph\/ring-graph|devices\/(vulkan|trial))/,
};

/** Whether this machine's tests can run the file. */
export function isJudgedWith(here: Readonly<Record<keyof typeof needs, boolean>>, path: string): boolean {
  return (here.postgres || !needs.postgres.test(path)) && (here.gpu || !needs.gpu.test(path));
}

/** What is wrong with the coverage of the `sources`, in words; nothing when the gate passes. */
export function coverageFaults(files: ReadonlyMap<string, Coverage>, sources: readonly Source[]): string[] {
  const faults: string[] = [];
  const missing: { path: string; lines: number }[] = [];
  let lines = 0;
  for (const { path, codeLines } of sources) {
    const file = files.get(path);
    const missed = [...(file ?? [])].flatMap(([line, count]) => (count === 0 ? [line] : []));
    if (complete.test(path)) {
      if (file === undefined && codeLines > 0) faults.push(`${path}: no test loads it`);
      else if (missed.length > 0) faults.push(`${path}: no test runs line ${missed.join(", ")}`);
    } else {
      lines += file?.size ?? codeLines;
      missing.push({ path, lines: file === undefined ? codeLines : missed.length });
    }
  }
  const share = lines === 0 ? 0 : 1 - missing.reduce((sum, file) => sum + file.lines, 0) / lines;
  if (share < restShare) {
    const most = missing.sort((a, b) => b.lines - a.lines).slice(0, 20);
    const named = most.map((file) => `${file.path} (${file.lines})`).join(", ");
    const words = `the rest of src/: ${(100 * share).toFixed(1)}% of ${lines} lines, less than ${100 * restShare}%`;
    faults.push(`${words}; the most are missed in ${named}`);
  }
  return faults;
}

export interface Source {
  /** Relative to the repository. */
  path: string;
  /** Lines of JavaScript that come of it, all of which count as missed when no test loads the file; 0: types alone. */
  codeLines: number;
}

/** The files of `src/`, without what is generated. */
export function sourceFiles(root: string): Source[] {
  const typescript = new Bun.Transpiler({ loader: "ts" });
  const paths = [...new Glob("src/**/*.ts").scanSync(root)].filter((path) => !path.startsWith("src/gen/")).sort();
  return paths.map((path) => {
    const code = typescript.transformSync(readFileSync(join(root, path), "utf8")).trim();
    return { path, codeLines: code === "" ? 0 : code.split("\n").length };
  });
}
