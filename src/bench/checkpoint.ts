/** The file that a killed run leaves: `<output>.partial`, a whole report of all turns but the last few. */

import { rmSync } from "node:fs";
import type { Destination } from "../files/destination.ts";
import { replaceFile } from "../files/write-to.ts";
import type { ReportV2 } from "../report/report.ts";
import { reportText } from "../report/report-file.ts";
import type { Clock } from "./clock.ts";

export interface CheckpointOptions {
  /** A file. */
  to: Destination;
  everyS: number;
  clock: Clock;
  report: () => ReportV2;
  /** Called when a checkpoint can't be written; the run goes on. */
  warn: (message: string) => void;
}

export class Checkpoint {
  readonly path: string;
  readonly #options: CheckpointOptions;
  #lastS = 0;

  constructor(options: CheckpointOptions) {
    this.#options = options;
    this.path = options.to.path;
  }

  /** Writes now. Throws what the file system says; at the start of a run, that is a reason not to begin. */
  write(): void {
    this.#lastS = this.#options.clock.nowS();
    replaceFile(this.#options.to, reportText(this.#options.report()));
  }

  /**
   * Writes between two turns, where it disturbs no measurement, if waiting for the next chance could lose an interval
   * or more. The next turn is meant to begin at `nextS`, and begins now when that has passed.
   */
  writeIfDue(nextS: number): void {
    const { clock, everyS } = this.#options;
    if (Math.max(nextS, clock.nowS()) - this.#lastS >= everyS) this.writeOrWarn();
  }

  writeOrWarn(): void {
    try {
      this.write();
    } catch (error) {
      this.#options.warn(`no checkpoint now: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** The final report is written: the checkpoint has done its work. */
  remove(): void {
    rmSync(this.path, { force: true });
  }
}
