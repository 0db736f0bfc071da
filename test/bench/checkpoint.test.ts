import { expect, test } from "bun:test";
import { existsSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { Checkpoint } from "../../src/bench/checkpoint.ts";
import { run } from "../../src/bench/runner.ts";
import { destination } from "../../src/files/destination.ts";
import { readReport } from "../../src/report/report-file.ts";
import { steady } from "../report/series.ts";
import { scratchDir } from "../scratch.ts";
import { HeldClock } from "./held-clock.ts";
import { recordOf } from "./run-record.ts";

function checkpointIn(folder: string, everyS: number) {
  const clock = new HeldClock();
  const record = recordOf(clock);
  const warnings: string[] = [];
  const saved = { atS: 0, turns: 0 };
  const checkpoint = new Checkpoint({
    to: destination(join(folder, "run.json.partial"), { inputs: [], isOurs: () => true, force: false }),
    everyS,
    clock,
    report: () => {
      saved.atS = clock.nowS();
      saved.turns = record.turns.length;
      return record.report({ partial: true, abortReason: null });
    },
    warn: (message) => warnings.push(message),
  });
  return { clock, record, checkpoint, warnings, saved };
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

test("whenever the bench is killed, the turns it loses are those of less than one interval", async () => {
  using scratch = scratchDir();
  const runs = fc.record({
    everyS: fc.integer({ min: 1, max: 300 }),
    turnSpacingS: fc.constantFrom(0, 1, 30),
    tookS: fc.array(fc.double({ min: 0.01, max: 100, noNaN: true }), { minLength: 1, maxLength: 20 }),
  });
  await fc.assert(
    fc.asyncProperty(runs, async ({ everyS, turnSpacingS, tookS }) => {
      const { clock, record, checkpoint, saved } = checkpointIn(scratch.path, everyS);
      checkpoint.write();
      let endedS = 0;
      const walk = {
        async turn() {
          // Killed in this turn the bench loses those that ended since the last checkpoint.
          if (record.turns.length > saved.turns) expect(endedS - saved.atS).toBeLessThan(everyS);
          clock.advance(tookS[record.turns.length] ?? 0);
          endedS = clock.nowS();
          return steady(1)[0];
        },
      };
      const options = { durationS: 1e9, turnSpacingS, turnsTarget: tookS.length };
      const stop = new AbortController().signal;
      await run(options, { walk, record, checkpoint, clock, stop, onTurn: () => undefined });
      expect(record.turns).toHaveLength(tookS.length);
    }),
    { numRuns: 40 },
  );
});

test("a disk that refuses a checkpoint is a warning, not the end of the run", () => {
  using scratch = scratchDir();
  const { checkpoint, warnings } = checkpointIn(join(scratch.path, "folder"), 600);
  rmdirSync(join(scratch.path, "folder"));
  writeFileSync(join(scratch.path, "folder"), "in the way");
  expect(() => checkpoint.write()).toThrow();
  checkpoint.writeIfDue(700);
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toStartWith(`no checkpoint now: ${checkpoint.path}: `);
});

test("it goes when the final report is there", () => {
  using scratch = scratchDir();
  const { checkpoint } = checkpointIn(scratch.path, 600);
  checkpoint.write();
  checkpoint.remove();
  expect(existsSync(checkpoint.path)).toBe(false);
});
