import { describe, expect, test } from "bun:test";
import { aggregateV2 } from "../../src/report/aggregate.ts";
import { judge } from "../../src/report/gates.ts";
import { checkedReport } from "../../src/report/schema.ts";
import { reportOf, steady, withFailure, world } from "./series.ts";

const turns = withFailure(steady(12), 5);
const report = reportOf(turns, { agg: aggregateV2(turns, 390), gates: judge(turns, { world, rotation: 6 }) });
const head = { schema_version: 1, kind: "bench_session_long_run" };
const okTurn = { ok: true, t_relative_s: 0, latency_s: 1, history_length: 9, n_emitted: 1, user_message_tokens: 8 };
const failedTurn = { ok: false, t_relative_s: 0, error_class: "Unavailable", error_str: "gone" };

function errorOf(value: unknown): string {
  try {
    checkedReport(JSON.parse(JSON.stringify(value)));
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return "accepted";
}

describe("schema 2", () => {
  test("a report we write is read back unchanged", () => {
    expect(checkedReport(JSON.parse(JSON.stringify(report)))).toEqual(report);
  });

  test("every field we write is required, wherever it is", () => {
    for (const field of Object.keys(report).filter((key) => key !== "schema_version")) {
      expect(errorOf({ ...report, [field]: undefined })).toBe(`/${field} is missing`);
    }
    for (const field of Object.keys(report.world)) {
      expect(errorOf({ ...report, world: { ...world, [field]: undefined } })).toBe(`/world/${field} is missing`);
    }
    for (const field of Object.keys(report.turns[0] ?? {}).filter((key) => key !== "ok")) {
      const broken = [{ ...report.turns[0], [field]: undefined }];
      expect(errorOf({ ...report, turns: broken })).toBe(`/turns/0/${field} is missing`);
    }
  });

  test("a wrong value is shown with its place and the rule", () => {
    const [first, ...rest] = report.turns;
    const withFirst = (change: object) => ({ ...report, turns: [...rest, { ...first, ...change }] });
    expect(errorOf(withFirst({ latency_s: null }))).toBe("/turns/11/latency_s must be number, is null");
    expect(errorOf(withFirst({ latency_s: -1 }))).toBe("/turns/11/latency_s must be >= 0, is -1");
    expect(errorOf(withFirst({ kv_live_bytes: 1.5 }))).toBe("/turns/11/kv_live_bytes must be integer or null, is 1.5");
    expect(errorOf(withFirst({ ok: "yes" }))).toBe('/turns/11/ok must be boolean, is "yes"');
    expect(errorOf({ ...report, kind: "x".repeat(99) })).toStartWith('/kind must be "bench_session_long_run", is "xxx');
  });
});

test("a moment beyond the calendar is refused, in either schema", () => {
  for (const field of ["started_at", "finished_at"]) {
    const message = `/${field} must be <= 8640000000000, is 1e+308`;
    expect(errorOf({ ...report, [field]: 1e308 })).toBe(message);
    expect(errorOf({ ...head, turns: [], [field]: 1e308 })).toBe(message);
  }
});

test("a report as deep as a stack is refused in words, wherever the depth is", () => {
  let deep: unknown[] = [];
  for (let level = 0; level < 200_000; level++) deep = [deep];
  const [first] = report.turns;
  for (const value of [
    { ...report, agg: { ...report.agg, deep } },
    { ...report, turns: [{ ...first, latency_s: deep }] },
    { ...head, turns: [], agg: deep },
  ]) {
    expect(() => checkedReport(value)).toThrow("not a bench report: nested more than 32 levels deep");
  }
});

describe("schema 1", () => {
  test("accepts failed turns, null or absent KV values, no turns, and partial files without figures", () => {
    expect(errorOf({ ...head, turns: [] })).toBe("accepted");
    expect(errorOf({ ...head, turns: [okTurn, { ...okTurn, kv_live_bytes: null }, failedTurn] })).toBe("accepted");
    const partial = { partial: true, abort_reason: "SIGTERM", finished_at: null, duration_s: null, agg: null };
    expect(errorOf({ ...head, ...partial, turns: [okTurn] })).toBe("accepted");
  });

  test("needs what the figures are made of", () => {
    expect(errorOf(head)).toBe("/turns is missing");
    expect(errorOf({ ...head, turns: [{ ...okTurn, latency_s: undefined }] })).toBe("/turns/0/latency_s is missing");
    expect(errorOf({ ...head, turns: [{ ...failedTurn, error_str: 7 }] })).toBe(
      "/turns/0/error_str must be string, is 7",
    );
  });
});

test("what is no report is refused by what it lacks", () => {
  expect(errorOf(null)).toBe("not a bench report: /schema_version is missing");
  expect(errorOf([])).toBe("not a bench report: /schema_version is missing");
  expect(errorOf({ schema_version: 3 })).toBe("/schema_version must be 1 or 2, is 3");
});
