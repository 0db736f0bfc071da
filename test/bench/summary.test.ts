import { expect, test } from "bun:test";
import { summaryJson, summaryText } from "../../src/bench/summary.ts";
import { aggregateV2 } from "../../src/report/aggregate.ts";
import { judge } from "../../src/report/gates.ts";
import type { ReportV2, TurnV2 } from "../../src/report/report.ts";
import { reportOf, steady, withFailure, world } from "../report/series.ts";

function report(turns: TurnV2[], changes: Partial<ReportV2> = {}): ReportV2 {
  const figures = { agg: aggregateV2(turns, 1800), gates: judge(turns, { world, rotation: 6 }) };
  return { ...reportOf(turns, figures), ...changes };
}

test("the end of a run says every gate with its reason, then its figures and where the report is", () => {
  const text = summaryText({ report: report(steady(60)), lastAnswer: "Flat." }, "run.json");
  expect(text).toStartWith("memory       PASS: ");
  expect(text).toContain("turns        60 in 30m, 0 failed\nhistory      4380 tokens in 1 session\n");
  expect(text).toContain("KV live      204 KiB\n");
  expect(text).toMatch(
    /^memory {7}PASS: .+\nwork {9}PASS: .+\nlatency {6}PASS: .+\ninvariants {3}PASS: .+\nerrors {7}PASS: /m,
  );
  expect(text).toEndWith("\n\nlast answer: Flat.\nreport: run.json");
});

test("the device is named, and its speed is the median turn's", () => {
  const run = report(steady(60));
  const on = (world: Partial<ReportV2["world"]>) =>
    summaryText({ report: { ...run, world: { ...run.world, ...world } }, lastAnswer: "" }, "run.json");
  expect(on({})).toContain("device       cpu\nmachine      1 x none, none\n");
  expect(on({ device: "gpu", adapter: "Some GPU, Vulkan" })).toContain("device       gpu (Some GPU, Vulkan)\n");
  const perToken = run.agg.p50_tpot_s ?? 0;
  expect(perToken).toBeGreaterThan(0);
  const shown = /^tokens\/s {5}(\S+) in the median turn$/m.exec(on({}))?.[1];
  expect(Number(shown) * perToken).toBeCloseTo(1, 3);
});

test("a run that ended early says so; so does a negative control", () => {
  const early = report(steady(6), { partial: true, abort_reason: "SIGTERM" });
  const text = summaryText(
    { report: { ...early, config: { ...early.config, control: "reprefill" } }, lastAnswer: "" },
    "r",
  );
  expect(text).toStartWith("control      reprefill: this run is meant to fail\n");
  expect(text).toContain("The run was ended by SIGTERM before its time.\n\nlast answer: none\n");
});

test("a run without a successful turn has no figures to show", () => {
  const text = summaryText({ report: report(withFailure(steady(1), 0)), lastAnswer: "" }, "run.json");
  expect(text).toContain("latency      none\n");
  expect(text).toContain("KV live      not reported\n");
  expect(text).toContain("errors       FAIL: 1 of 1 turns failed");
});

test("no control character of an answer, or of what the server says of itself, reaches the terminal", () => {
  const run = report(steady(6));
  const hostile = { ...run, world: { ...run.world, model_id: "a\u202eb", quantization: "\u009bq8" } };
  const text = summaryText({ report: hostile, lastAnswer: "a\u001b[2Jb\nc" }, "run.json");
  expect(text).toContain("last answer: a [2Jb c\n");
  expect(text).toContain("model        a b  q8, ");
});

test("JSON has the same under the report's own names", () => {
  const plain = report(steady(6));
  const whole = { ...plain, world: { ...plain.world, device: "gpu", adapter: "Some GPU" } };
  expect(JSON.parse(summaryJson({ report: whole, lastAnswer: "Flat." }, "run.json"))).toEqual({
    report: "run.json",
    partial: false,
    abort_reason: null,
    device: "gpu",
    adapter: "Some GPU",
    last_answer: "Flat.",
    agg: whole.agg,
    gates: whole.gates,
  });
});
