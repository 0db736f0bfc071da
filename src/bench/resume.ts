/** A run that goes on after its bench, its server or its machine crashed: from the `.partial` report that was left. */

import { UsageError } from "../cli/exit.ts";
import type { RuntimeInfo } from "../client/index.ts";
import type { ConfigV2, ReportV2, ResumePoint } from "../report/report.ts";
import { readReport } from "../report/report-file.ts";
import { type Clock, systemClock } from "./clock.ts";

export interface Resumed {
  report: ReportV2;
  /** The session, as the crashed bench knew it; absent when it had none. */
  point: ResumePoint | undefined;
}

/** @throws UsageError when the file can't be continued */
export async function resumedFrom(path: string): Promise<Resumed> {
  const report = await readReport(path);
  if (report.schema_version !== 2) throw new UsageError(`--resume ${path}: a report of schema 1 can't be continued`);
  if (!report.partial) throw new UsageError(`--resume ${path}: that run came to its end; there is nothing to resume`);
  return { report, point: report.resume };
}

/** What may not change on the way, since turns are compared with each other. */
const kept = ["turn_spacing_s", "max_tokens", "workload", "workload_messages", "template", "control"] as const;

/** @throws UsageError naming the option that differs */
export function requireSameRun(
  { report }: Resumed,
  config: ConfigV2,
  { modelFingerprint, device }: Pick<RuntimeInfo, "modelFingerprint" | "device">,
): void {
  for (const name of kept) {
    if (report.config[name] === config[name]) continue;
    const option = `--${name.replace(/_s$/, "").replaceAll("_", "-")}`;
    throw new UsageError(`the run to resume has ${option} ${report.config[name]}, not ${config[name]}: give the same`);
  }
  if (report.world.model_fingerprint !== modelFingerprint) {
    throw new UsageError("the run to resume measured another model: serve the same");
  }
  const before = report.world.device ?? "cpu";
  if (before !== (device || "cpu")) {
    throw new UsageError(
      `the run to resume measured the ${before}, not the ${device || "cpu"}: give the same --device`,
    );
  }
}

/** Goes on where the crashed run's clock would be now: the time in between belongs to the run. */
export function resumedClock({ report }: Resumed): Clock {
  const clock = systemClock();
  const beforeS = Math.max(report.duration_s, clock.unixS() - report.started_at);
  return { ...clock, nowS: () => beforeS + clock.nowS() };
}
