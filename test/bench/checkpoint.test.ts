import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Checkpoint } from "../../src/bench/checkpoint.ts";
import { readReport } from "../../src/bench/report-file.ts";
import { scratchDir } from "../model/scratch.ts";
import { HeldClock } from "./held-clock.ts";
import { recordOf } from "./run-record.ts";

function checkpointIn(folder: string, everyS: number) {
  const clock = new HeldClock();
  const record = recordOf(clock);
  const warnings: string[] = [];
  const checkpoint = new Checkpoint({
    output: join(folder, "run.json"),
    everyS,
    clock,
    report: () => record.report({ partial: true, abortReason: null }),
    warn: (message) => warnings.push(message),
  });
  return { clock, record, checkpoint, warnings };
}

test("a checkpoint is a whole report that says it is partial", async () => {
  using scratch = scratchDir();
  const { checkpoint } = checkpointIn(scratch.path, 600);
  checkpoint.write();
  expect(checkpoint.path).toBe(join(scratch.path, "run.json.partial"));
  expect(await readReport(checkpoint.path)).toMatchObject({ partial: true, abort_reason: null, turns: [] });
});

test("it is written when waiting for the next turn would lose more than an interval", async () => {
  using scratch = scratchDir();
  const { checkpoint, clock } = checkpointIn(scratch.path, 600);
  checkpoint.write();
  clock.advance(570);
  checkpoint.writeIfDue(599);
  expect(await readReport(checkpoint.path)).toMatchObject({ duration_s: 0 });
  checkpoint.writeIfDue(600);
  expect(await readReport(checkpoint.path)).toMatchObject({ duration_s: 570 });
});

test("a disk that refuses a checkpoint is a warning, not the end of the run", () => {
  const { checkpoint, warnings } = checkpointIn("/no/such/folder", 600);
  expect(() => checkpoint.write()).toThrow();
  checkpoint.writeIfDue(700);
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toStartWith("can't write the checkpoint /no/such/folder/run.json.partial: ");
});

test("it goes when the final report is there", () => {
  using scratch = scratchDir();
  const { checkpoint } = checkpointIn(scratch.path, 600);
  checkpoint.write();
  checkpoint.remove();
  expect(existsSync(checkpoint.path)).toBe(false);
});
