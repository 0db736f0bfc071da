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

/** What is wrong with the coverage of `src/`, in words; nothing when the gate passes. */
export function coverageFaults(files: ReadonlyMap<string, Coverage>, sources: readonly string[]): string[] {
  const faults: string[] = [];
  let lines = 0;
  let covered = 0;
  for (const source of sources) {
    const file = files.get(source);
    const missed = [...(file ?? [])].flatMap(([line, count]) => (count === 0 ? [line] : []));
    if (complete.test(source)) {
      if (file === undefined) faults.push(`${source}: no test loads it`);
      else if (missed.length > 0) faults.push(`${source}: no test runs line ${missed.join(", ")}`);
    } else {
      lines += file?.size ?? 0;
      covered += (file?.size ?? 0) - missed.length;
    }
  }
  const share = lines === 0 ? 0 : covered / lines;
  if (share < restShare) {
    faults.push(`the rest of src/: ${(100 * share).toFixed(1)}% of ${lines} lines, less than ${100 * restShare}%`);
  }
  return faults;
}

/** Source files whose lines count: all of `src/` but what is generated, types alone, and the entry point. */
export function sourceFiles(root: string): string[] {
  return [...new Glob("src/**/*.ts").scanSync(root)].filter((path) => !path.startsWith("src/gen/")).sort();
}
