import { expect, test } from "bun:test";
import { Progress, progressLine } from "../../src/bench/progress.ts";
import type { RunOptions } from "../../src/bench/runner.ts";
import { failed, steady, withTurn } from "../report/series.ts";
import { HeldClock } from "./held-clock.ts";
import { recordOf } from "./run-record.ts";

function runOf(turns: Parameters<typeof failed>[0][]) {
  const record = recordOf(new HeldClock());
  record.turns.push(...turns);
  return record;
}

test("the line says where the run is, what a turn takes and holds, and how the gates stand", () => {
  const record = runOf(withTurn(steady(12), 11, { latency_s: 0.21 }));
  const line = progressLine({ record, run: run(14_400), nowS: 331.9, gates: record.gates(), medianS: 1.8 });
  expect(line).toBe("turn 12 · 0:05:31/4:00:00 · 210 ms · median 1.8 s · KV 204 KiB · gates pass, latency open");
});

test("a run that ends after so many turns shows how many, and no duration that it never reaches", () => {
  const line = (changes: Partial<RunOptions>) => {
    const options = { ...run(14_400), turnSpacingS: 0, turnsTarget: 3, ...changes };
    return progressLine({ record: runOf([]), run: options, nowS: 5, gates: undefined, medianS: null });
  };
  expect(line({})).toBe("turn 0/3 · 0:00:05");
  expect(line({ turnSpacingS: 4800 })).toBe("turn 0/3 · 0:00:05");
  expect(line({ turnSpacingS: 4801 })).toBe("turn 0 · 0:00:05/4:00:00");
});

test("where there is no room for all, what is needed least goes first, and whole", () => {
  const record = runOf(withTurn(steady(12), 11, { latency_s: 0.21 }));
  const now = { record, run: run(14_400), nowS: 331.9, gates: record.gates(), medianS: 1.8 };
  const of = (columns: number) => progressLine(now, columns);
  expect(of(89)).toEndWith(" · 210 ms · median 1.8 s · KV 204 KiB · gates pass, latency open");
  expect(of(79)).toBe("turn 12 · 0:05:31/4:00:00 · 210 ms · median 1.8 s · gates pass, latency open");
  expect(of(70)).toBe("turn 12 · 0:05:31/4:00:00 · 210 ms · gates pass, latency open");
  expect(of(55)).toBe("turn 12 · 0:05:31/4:00:00 · gates pass, latency open");
  expect(of(40)).toBe("turn 12 · 0:05:31/4:00:00 · 210 ms");
  expect(of(10)).toBe("turn 12");
});

test("the line names the gates that fail", () => {
  const record = runOf(withTurn(steady(12), 11, { kv_live_bytes: 1024, inv1: 1 }));
  const line = progressLine({ record, run: run(60), nowS: 3, gates: record.gates(), medianS: 1.8 });
  expect(line).toEndWith(" · KV 1 KiB · gates pass, memory FAILS, latency open, invariants FAILS");
});

test("the line says that the last turn failed, and how", () => {
  const record = runOf(steady(2));
  const [turn] = steady(1);
  if (turn) record.turns.push(failed(turn));
  const line = progressLine({ record, run: run(60), nowS: 3, gates: undefined, medianS: null });
  expect(line).toBe("turn 3 · 0:00:03/0:01:00 · the last turn failed: Unavailable");
});

test("before the first turn the line shows the time alone", () => {
  const line = progressLine({ record: runOf([]), run: run(90), nowS: 0, gates: undefined, medianS: null });
  expect(line).toBe("turn 0 · 0:00:00/0:01:30");
});

function run(durationS: number): RunOptions {
  return { durationS, turnSpacingS: 30, turnsTarget: null };
}

function terminal(isTTY: boolean) {
  const written: string[] = [];
  return { written, isTTY, columns: 40, write: (text: string) => written.push(text) };
}

test("on a terminal the line follows the turns, fitted to the width, and is gone afterwards", () => {
  const screen = terminal(true);
  {
    using progress = new Progress({ record: runOf(steady(2)), run: run(60), nowS: () => 1, terminal: screen });
    progress.onTurn();
  }
  expect(screen.written).toEqual(["\r\x1b[2Kturn 2 · 0:00:01/0:01:00 · 1.807 s", "\r\x1b[2K"]);
});

test("elsewhere turns write nothing: a line comes with each minute", () => {
  const file = terminal(false);
  {
    using progress = new Progress({ record: runOf(steady(2)), run: run(60), nowS: () => 1, terminal: file });
    progress.onTurn();
  }
  expect(file.written).toEqual([]);
});
