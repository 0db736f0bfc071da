import { writeFileAtomically } from "../../src/files/atomic-file.ts";
import type { ReportV2 } from "../../src/report/report.ts";
import { reportText } from "../../src/report/report-file.ts";

/** Puts a report at `path`, as a bench does. */
export function writeReport(path: string, report: ReportV2): void {
  writeFileAtomically(path, reportText(report));
}
