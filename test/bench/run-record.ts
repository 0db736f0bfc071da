import type { Clock } from "../../src/bench/clock.ts";
import { RunRecord } from "../../src/bench/record.ts";
import { aggregateV2 } from "../../src/report/aggregate.ts";
import { judge } from "../../src/report/gates.ts";
import { reportOf, world } from "../report/series.ts";

/** An empty record of a run of kakeya-tiny. */
export function recordOf(clock: Clock): RunRecord {
  const { config } = reportOf([], { agg: aggregateV2([], 0), gates: judge([], { world, rotation: 6 }) });
  return new RunRecord({ clock, config, world, loadAverage: () => [0.5, 0.25, 0.125] });
}
