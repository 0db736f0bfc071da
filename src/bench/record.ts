/** What a run has recorded so far, as a report at any moment. */

import { aggregateV2 } from "../report/aggregate.ts";
import { judge } from "../report/gates.ts";
import {
  type ConfigV2,
  type Gates,
  type ReportV2,
  type Restart,
  type ResumePoint,
  reportKind,
  type TurnV2,
  type World,
} from "../report/report.ts";
import type { Clock } from "./clock.ts";

/** The world, without what is known only at the run's end. */
export type WorldAtStart = Omit<World, "load_average_end">;

export interface RecordOptions {
  config: ConfigV2;
  world: WorldAtStart;
  /** Starts with the run. */
  clock: Clock;
  loadAverage: () => World["load_average_end"];
  /** What this run goes on from. */
  resumed?: Pick<ReportV2, "turns" | "started_at">;
  /** What a bench would need to go on from this one. */
  resumePoint?: () => ResumePoint | undefined;
  /** The kills until now; absent where the server is never killed. */
  restarts?: readonly Restart[];
}

export class RunRecord {
  readonly turns: TurnV2[];
  readonly #options: RecordOptions;
  readonly #startedAtS: number;

  constructor(options: RecordOptions) {
    this.#options = options;
    this.turns = [...(options.resumed?.turns ?? [])];
    this.#startedAtS = options.resumed?.started_at ?? options.clock.unixS();
  }

  /** Takes seconds for a very long run, like `report`. */
  gates(): Gates {
    const { config, world } = this.#options;
    return judge(this.turns, { world, rotation: config.workload_messages });
  }

  /** The report as of now. Shares `turns` with this record: write it before the next turn. */
  report(ended: { partial: boolean; abortReason: string | null; resumable?: boolean }): ReportV2 {
    const { clock, config, world, loadAverage, restarts } = this.#options;
    const durationS = clock.nowS();
    const resume = ended.resumable ? this.#options.resumePoint?.() : undefined;
    return {
      schema_version: 2,
      kind: reportKind,
      partial: ended.partial,
      abort_reason: ended.abortReason,
      started_at: this.#startedAtS,
      finished_at: clock.unixS(),
      duration_s: durationS,
      config,
      world: { ...world, load_average_end: loadAverage() },
      ...(resume && { resume }),
      ...(restarts && { restarts: [...restarts] }),
      turns: this.turns,
      agg: aggregateV2(this.turns, durationS, config.sessions),
      gates: this.gates(),
    };
  }
}
