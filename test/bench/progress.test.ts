import { expect, test } from "bun:test";
import { Progress, progressLine } from "../../src/bench/progress.ts";
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
  const line = progressLine({ record, durationS: 14_400, nowS: 331.9, gates: record.gates(), medianS: 1.8 });
  expect(line).toBe("turn 12 · 0:05:31/4:00:00 · 210 ms (median 1.8 s) · KV 204 KiB · gates pass, latency open");
});

test("the line names the gates that fail", () => {
  const record = runOf(withTurn(steady(12), 11, { kv_live_bytes: 1024, inv1: 1 }));
  const line = progressLine({ record, durationS: 60, nowS: 3, gates: record.gates(), medianS: 1.8 });
  expect(line).toEndWith(" · KV 1 KiB · gates pass, memory FAILS, latency open, invariants FAILS");
});

test("the line says that the last turn failed, and how", () => {
  const record = runOf(steady(2));
  const [turn] = steady(1);
  if (turn) record.turns.push(failed(turn));
  const line = progressLine({ record, durationS: 60, nowS: 3, gates: undefined, medianS: null });
  expect(line).toBe("turn 3 · 0:00:03/0:01:00 · the last turn failed: Unavailable");
});

test("before the first turn the line shows the time alone", () => {
  const line = progressLine({ record: runOf([]), durationS: 90, nowS: 0, gates: undefined, medianS: null });
  expect(line).toBe("turn 0 · 0:00:00/0:01:30");
});

function terminal(isTTY: boolean) {
  const written: string[] = [];
  return { written, isTTY, columns: 40, write: (text: string) => written.push(text) };
}

test("on a terminal the line follows the turns, cut to the width, and is gone afterwards", () => {
  const screen = terminal(true);
  {
    using progress = new Progress({ record: runOf(steady(2)), durationS: 60, nowS: () => 1, terminal: screen });
    progress.onTurn();
  }
  expect(screen.written).toEqual(["\r\x1b[2Kturn 2 · 0:00:01/0:01:00 · 1.807 s (med", "\r\x1b[2K"]);
});

test("elsewhere turns write nothing: a line comes with each minute", () => {
  const file = terminal(false);
  {
    using progress = new Progress({ record: runOf(steady(2)), durationS: 60, nowS: () => 1, terminal: file });
    progress.onTurn();
  }
  expect(file.written).toEqual([]);
});
