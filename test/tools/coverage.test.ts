import { expect, test } from "bun:test";
import { coverageFaults, isJudgedWith, readLcov, sumOfCoverage } from "../../tools/coverage.ts";

const lcov = `TN:
SF:src/kv/slab.ts
DA:1,5
DA:2,0
DA:4,1
LF:3
LH:2
end_of_record
SF:src/cli/run.ts
DA:1,1
DA:2,1
end_of_record
`;

const sources = (...paths: string[]) => paths.map((path) => ({ path, codeLines: 10 }));

test("a tracefile is read file by file, with how often each line ran", () => {
  expect(readLcov(lcov)).toEqual(
    new Map([
      [
        "src/kv/slab.ts",
        new Map([
          [1, 5],
          [2, 0],
          [4, 1],
        ]),
      ],
      [
        "src/cli/run.ts",
        new Map([
          [1, 1],
          [2, 1],
        ]),
      ],
    ]),
  );
});

test("a line that one of several runs covered is covered", () => {
  const other = readLcov("SF:src/kv/slab.ts\nDA:1,0\nDA:2,3\nend_of_record\n");
  const both = sumOfCoverage([readLcov(lcov), other]);
  expect([...(both.get("src/kv/slab.ts") ?? [])]).toEqual([
    [1, 5],
    [2, 3],
    [4, 1],
  ]);
  expect(coverageFaults(both, sources("src/kv/slab.ts", "src/cli/run.ts"))).toEqual([]);
});

test("one missed line of the cache or the figures fails the gate, and so does a file that nothing loads", () => {
  expect(coverageFaults(readLcov(lcov), sources("src/kv/slab.ts", "src/cli/run.ts", "src/report/gates.ts"))).toEqual([
    "src/kv/slab.ts: no test runs line 2",
    "src/report/gates.ts: no test loads it",
  ]);
});

test("elsewhere nine lines of ten are enough, and fewer are not", () => {
  const covered = (n: number) =>
    new Map([["src/a.ts", new Map(Array.from({ length: 100 }, (_, line) => [line, line < n ? 1 : 0]))]]);
  expect(coverageFaults(covered(90), sources("src/a.ts"))).toEqual([]);
  expect(coverageFaults(covered(89), sources("src/a.ts"))).toEqual([
    "the rest of src/: 89.0% of 100 lines, less than 90%; the most are missed in src/a.ts (11)",
  ]);
});

test("of a file that no test loads every line is missed; one of types alone has none", () => {
  const a = new Map([["src/a.ts", new Map(Array.from({ length: 90 }, (_, line) => [line, 1]))]]);
  const faults = (codeLines: number) => coverageFaults(a, [...sources("src/a.ts"), { path: "src/b.ts", codeLines }]);
  expect(faults(11)).toEqual([
    "the rest of src/: 89.1% of 101 lines, less than 90%; the most are missed in src/b.ts (11), src/a.ts (0)",
  ]);
  expect(faults(10)).toEqual([]);
  expect(coverageFaults(a, [{ path: "src/kv/types.ts", codeLines: 0 }, ...sources("src/a.ts")])).toEqual([]);
});

test("what needs a GPU or a database is judged where there is one", () => {
  const judged = (path: string) => [false, true].map((there) => isJudgedWith({ gpu: there, postgres: there }, path));
  expect(judged("src/engine/gpu-rings.ts")).toEqual([false, true]);
  expect(judged("src/state/postgres/commit.ts")).toEqual([false, true]);
  expect(judged("src/state/store.ts")).toEqual([true, true]);
});
