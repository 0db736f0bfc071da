import { expect, test } from "bun:test";
import { coverageFaults, readLcov } from "../../tools/coverage.ts";

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

test("a tracefile is read file by file, with the lines that no test ran", () => {
  expect(Object.fromEntries(readLcov(lcov))).toEqual({
    "src/kv/slab.ts": { lines: 3, covered: 2, missed: [2] },
    "src/cli/run.ts": { lines: 2, covered: 2, missed: [] },
  });
});

test("one missed line of the cache or the figures fails the gate, and so does a file that nothing loads", () => {
  expect(coverageFaults(readLcov(lcov), ["src/kv/slab.ts", "src/cli/run.ts", "src/report/gates.ts"])).toEqual([
    "src/kv/slab.ts: no test runs line 2",
    "src/report/gates.ts: no test loads it",
  ]);
});

test("elsewhere nine lines of ten are enough, and fewer are not", () => {
  const covered = (n: number) => new Map([["src/a.ts", { lines: 100, covered: n, missed: [1] }]]);
  expect(coverageFaults(covered(90), ["src/a.ts"])).toEqual([]);
  expect(coverageFaults(covered(89), ["src/a.ts"])).toEqual(["the rest of src/: 89.0% of 100 lines, less than 90%"]);
});
