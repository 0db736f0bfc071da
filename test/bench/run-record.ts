import { aggregateV2 } from "../../src/bench/aggregate.ts";
import type { Clock } from "../../src/bench/clock.ts";
import { judge } from "../../src/bench/gates.ts";
import { RunRecord } from "../../src/bench/record.ts";
import { reportOf, world } from "./series.ts";

/** An empty record of a run of kakeya-tiny. */
export function recordOf(clock: Clock): RunRecord {
  const { config } = reportOf([], { agg: aggregateV2([], 0), gates: judge([], { world, rotation: 6 }) });
  return new RunRecord({ clock, config, world, loadAverage: () => [0.5, 0.25, 0.125] });
}
