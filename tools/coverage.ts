import { Glob } from "bun";

/** Lines a test could run, and those that one did. */
export interface Coverage {
  lines: number;
  covered: number;
  /** Line numbers no test ran. */
  missed: number[];
}

/** Reads an lcov tracefile: one entry a source file, its path as written there. */
export function readLcov(text: string): Map<string, Coverage> {
  const files = new Map<string, Coverage>();
  for (const record of text.split("end_of_record")) {
    const file = record.match(/^SF:(.+)$/m)?.[1];
    if (file === undefined) continue;
    const hits = [...record.matchAll(/^DA:(\d+),(\d+)/gm)].map(([, line, count]) => ({
      line: Number(line),
      run: count !== "0",
    }));
    const missed = hits.filter(({ run }) => !run).map(({ line }) => line);
    files.set(file, { lines: hits.length, covered: hits.length - missed.length, missed });
  }
  return files;
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
    if (complete.test(source)) {
      if (file === undefined) faults.push(`${source}: no test loads it`);
      else if (file.missed.length > 0) faults.push(`${source}: no test runs line ${file.missed.join(", ")}`);
    } else {
      lines += file?.lines ?? 0;
      covered += file?.covered ?? 0;
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
