/** Replaces the report at argv[2] with longer and shorter ones, argv[3] times. */
import { aggregateV2 } from "../../src/report/aggregate.ts";
import { judge } from "../../src/report/gates.ts";
import { reportOf, steady, world } from "./series.ts";
import { writeReport } from "./write-report.ts";

const [, , path = "", times = "0"] = process.argv;
for (let i = 0; i < Number(times); i++) {
  const turns = steady(i % 2 === 0 ? 2 : 400);
  writeReport(path, reportOf(turns, { agg: aggregateV2(turns, 90), gates: judge([], { world, rotation: 6 }) }));
}
