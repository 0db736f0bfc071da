import { expect, test } from "bun:test";
import { join } from "node:path";
import { aggregateV2 } from "../../src/report/aggregate.ts";
import { readReport } from "../../src/report/report-file.ts";
import { steady, world } from "../report/series.ts";
import { writeReport } from "../report/write-report.ts";
import { scratchDir } from "../scratch.ts";
import { HeldClock } from "./held-clock.ts";
import { recordOf } from "./run-record.ts";

test("a report holds the turns so far, their figures and gates, and the load at both ends", () => {
  const clock = new HeldClock();
  const record = recordOf(clock);
  record.turns.push(...steady(30));
  clock.advance(900);
  const report = record.report({ partial: false, abortReason: null });
  expect(report.turns).toEqual(steady(30));
  expect(report.agg).toEqual(aggregateV2(steady(30), 900));
  expect(report.gates).toEqual(record.gates());
  expect(report.world).toEqual({ ...world, load_average_end: [0.5, 0.25, 0.125] });
});

test.each([0, 1, 999, 1000, 1001, 2500])("a report of %d turns is read back as it was written", async (n) => {
  using scratch = scratchDir();
  const record = recordOf(new HeldClock());
  record.turns.push(...steady(n));
  const report = record.report({ partial: true, abortReason: "SIGINT" });
  const path = join(scratch.path, "report.json");
  writeReport(path, report);
  expect(await readReport(path)).toEqual(report);
});

test("a time of day that jumps back changes no duration, and the report stays valid", async () => {
  using scratch = scratchDir();
  const clock = new HeldClock();
  const record = recordOf(clock);
  clock.advance(100);
  clock.dayS -= 86_400;
  const report = record.report({ partial: false, abortReason: null });
  expect(report).toMatchObject({ duration_s: 100, started_at: 1_800_000_000, finished_at: 1_799_913_600 });
  const path = join(scratch.path, "report.json");
  writeReport(path, report);
  expect(await readReport(path)).toEqual(report);
});
