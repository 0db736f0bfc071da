import { describe, expect, test } from "bun:test";
import { aggregateV2 } from "../../src/report/aggregate.ts";
import { agreement } from "../../src/report/figures.ts";
import { judge } from "../../src/report/gates.ts";
import { jsonText, recompute } from "../../src/report/recompute.ts";
import type { ReportV2 } from "../../src/report/report.ts";
import { readReport } from "../../src/report/report-file.ts";
import { textTable } from "../../src/report/table.ts";
import { reportOf, reprefilled, steady, withFailure, world } from "./series.ts";

const realFile = `${import.meta.dir}/data/bench_session_4h_1780332893.json`;

function ownReport(turns = withFailure(steady(60), 30)): ReportV2 {
  const report = reportOf(turns, { agg: aggregateV2([], 0), gates: judge(turns, { world, rotation: 6 }) });
  return { ...report, agg: aggregateV2(turns, report.duration_s) };
}

describe("differences", () => {
  test("a file that tells the truth has none, of either schema", async () => {
    expect(recompute("own.json", ownReport()).differences).toEqual([]);
    const real = recompute("real.json", await readReport(realFile));
    expect(real.differences).toEqual([]);
    expect(agreement(real)).toBe("the file's own figures are the same to the last digit");
  });

  test("one altered turn shows in every figure that it moves", () => {
    const report = ownReport(steady(20));
    const [first, ...rest] = report.turns;
    if (!first?.ok) throw new Error("the first turn failed");
    const altered = { ...report, turns: [{ ...first, latency_s: 99 }, ...rest] };
    const fields = recompute("a.json", altered).differences?.map(({ field }) => field);
    expect(fields).toContain("agg.p95_latency_s");
    expect(fields).toContain("agg.buckets_10min[0].p95_latency_s");
    expect(fields).not.toContain("agg.n_turns");
  });

  test("a verdict someone changed by hand shows, with both readings", () => {
    const report = ownReport();
    const forged = {
      ...report,
      gates: { ...report.gates, errors: { ...report.gates.errors, verdict: "pass" as const } },
    };
    const run = recompute("forged.json", forged);
    expect(run.differences).toEqual([{ field: "gates.errors.verdict", in_file: "pass", recomputed: "fail" }]);
    expect(agreement(run)).toBe("the file's own figures differ in 1 place");
    expect(textTable([run])).toContain('gates.errors.verdict: "pass" in the file, "fail" recomputed');
  });

  test("a reason in other words is no difference: its numbers are compared", () => {
    const report = ownReport();
    const reworded = { ...report.gates, memory: { ...report.gates.memory, reason: "all is well" } };
    const run = recompute("a.json", { ...report, gates: reworded });
    expect(run.differences).toEqual([]);
    expect(textTable([run])).not.toContain("all is well");
  });

  test("a figure the file lacks or has too many is null on the other side", () => {
    const run = recompute("a.json", {
      schema_version: 1,
      kind: "bench_session_long_run",
      turns: [],
      agg: { n_turns: 0, extra: 1 } as { n_turns: number },
    });
    expect(run.differences).toContainEqual({ field: "agg.extra", in_file: 1, recomputed: null });
    expect(run.differences).toContainEqual({ field: "agg.buckets_10min", in_file: null, recomputed: [] });
    expect(textTable([run])).toContain("the file's own figures differ in");
  });

  test("a file without figures of its own has nothing to differ", () => {
    const run = recompute("a.json", { schema_version: 1, kind: "bench_session_long_run", partial: true, turns: [] });
    expect(run.differences).toBeNull();
    expect(textTable([run])).toContain("no figures of its own to compare with");
  });
});

describe("the table", () => {
  test("of one run names the world, the figures and every gate's reason", () => {
    const text = textTable([recompute("own.json", ownReport())]);
    expect(text).toMatch(/^schema +2$/m);
    expect(text).toMatch(/^model +kakeya-tiny$/m);
    expect(text).toMatch(/^failed turns +1$/m);
    expect(text).toMatch(/^latency p50 +1\.\d+ s$/m);
    expect(text).toMatch(/^FAIL +errors: 1 of 60 turns failed/m);
    expect(text).toMatch(/^PASS +work: /m);
  });

  test("begins with the verdicts, and has earlier runtimes' ones under a heading that says why they mislead", () => {
    const run = recompute("own.json", ownReport());
    const one = textTable([run]);
    expect(one).toStartWith("PASS          memory: ");
    expect(textTable([run, run])).toMatch(/^ +own\.json +own\.json\nmemory +pass +pass\nwork +pass +pass\n/);
    expect(one).toMatch(
      /\n\nas earlier runtimes judged it:\n {2}These mislead, [^\n]+\n {2}[^\n]+\n {2}[^\n]+\nkv_bounded +true\nprefill_bounded +true\nlatency_drift_p50_s +/,
    );
    expect(one.indexOf("as earlier")).toBeGreaterThan(one.indexOf("latency p95"));
    expect(one.indexOf("fingerprint")).toBeGreaterThan(one.indexOf("as earlier"));
  });

  test("of several runs has a column for each, under its file's name", async () => {
    const runs = [
      recompute("own.json", ownReport()),
      recompute("control.json", ownReport(reprefilled(40))),
      recompute("real.json", await readReport(realFile)),
    ];
    const text = textTable(runs);
    expect(text).toMatch(/^ +own\.json +control\.json +real\.json$/m);
    expect(text).toMatch(/^latency +pass +fail +pass$/m);
    expect(text).toMatch(/^quantization +q8 +q8 +-$/m);
  });

  test("no control character of a report reaches the terminal, wherever it stands", () => {
    const evil = "\u001b[2J\u0007\u009b1m\u202etiny\u2028\r\n";
    const turns = withFailure(steady(60), 30).map((turn) =>
      turn.ok ? turn : { ...turn, error_class: evil, error_str: evil },
    );
    const report = ownReport(turns);
    const hostile = {
      ...report,
      world: { ...world, model_id: evil, quantization: evil, command_line: [evil] },
      agg: { ...report.agg, [evil]: evil },
      abort_reason: evil,
    };
    const run = recompute(`${evil}.json`, hostile);
    for (const text of [textTable([run]), textTable([run, run]), jsonText([run])]) {
      expect(text.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u);
    }
    expect(JSON.parse(jsonText([run])).reports[0].abort_reason).toBe(evil);
  });

  test("many differences are cut, and --json has them all", () => {
    const report = ownReport();
    const wrong = { ...report, agg: aggregateV2([], 0), gates: judge([], { world, rotation: 6 }) };
    const run = recompute("a.json", wrong);
    expect(textTable([run])).toMatch(/and \d+ more: see --json$/m);
    expect(JSON.parse(jsonText([run])).reports[0].differences).toEqual(run.differences);
  });
});

test("JSON has the recomputed figures and gates under the report's own names", () => {
  const { reports } = JSON.parse(jsonText([recompute("own.json", ownReport())]));
  expect(reports).toHaveLength(1);
  expect(reports[0]).toMatchObject({ file: "own.json", schema_version: 2, agg: { n_turns: 59, n_errors: 1 } });
  expect(reports[0].gates.errors.verdict).toBe("fail");
});

test("the same file gives the same bytes", () => {
  const text = () => textTable([recompute("own.json", ownReport())]);
  expect(text()).toBe(text());
});
