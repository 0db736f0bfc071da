import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { aggregateV2 } from "../../src/report/aggregate.ts";
import { judge } from "../../src/report/gates.ts";
import { latestReport, ReportFileError, readReport } from "../../src/report/report-file.ts";
import { reportOf, steady, world } from "./series.ts";
import { writeReport } from "./write-report.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kakeya-report-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const turns = steady(3);
const report = reportOf(turns, { agg: aggregateV2(turns, 90), gates: judge(turns, { world, rotation: 6 }) });

test("what is written is read back, and nothing is left beside it", async () => {
  const path = join(folder, "report.json");
  writeReport(path, report);
  expect(await readReport(path)).toEqual(report);
  expect(readdirSync(folder)).toEqual(["report.json"]);
});

test("a reader never sees half a file, however often it is replaced", async () => {
  const path = join(folder, "report.json");
  writeReport(path, report);
  const writer = Bun.spawn([process.execPath, join(import.meta.dir, "rewrite-report.ts"), path, "60"]);
  let reads = 0;
  while (writer.exitCode === null) {
    expect((await readReport(path)).turns.length).toBeGreaterThan(0);
    reads++;
    await Bun.sleep(1);
  }
  expect(writer.exitCode).toBe(0);
  expect(reads).toBeGreaterThan(0);
});

describe("an error names the file", () => {
  test("that is missing", async () => {
    const path = join(folder, "none.json");
    await expect(readReport(path)).rejects.toThrow(ReportFileError);
    await expect(readReport(path)).rejects.toThrow(`can't read ${path}: ENOENT`);
  });

  test("that is not JSON", async () => {
    const path = join(folder, "cut.json");
    writeFileSync(path, '{"schema_version":2,');
    await expect(readReport(path)).rejects.toThrow(`${path}: not JSON: `);
    await expect(readReport(path)).rejects.toThrow(ReportFileError);
  });

  test("and the field that is wrong", async () => {
    const path = join(folder, "bad.json");
    writeFileSync(path, '{"schema_version":2}');
    await expect(readReport(path)).rejects.toThrow(`${path}: /kind is missing`);
  });
});

test("the latest report of a folder is the one written last", () => {
  expect(latestReport(join(folder, "none"))).toBeNull();
  expect(latestReport(folder)).toBeNull();
  for (const [name, time] of [
    ["a.json", 300],
    ["b.json", 100],
    ["c.json.partial", 500],
  ] as const) {
    writeFileSync(join(folder, name), "{}");
    utimesSync(join(folder, name), time, time);
  }
  expect(latestReport(folder)).toBe(join(folder, "a.json"));
});
