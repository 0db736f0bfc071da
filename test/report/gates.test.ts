import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { errorsGate, exitCode, invariantsGate, judge, judgeReport } from "../../src/report/gates.ts";
import { type Gates, gateNames, type Verdict } from "../../src/report/report.ts";
import { readReport } from "../../src/report/report-file.ts";
import { failed, reprefilled, steady, withFailure, withTurn, world } from "./series.ts";

const context = { world, rotation: 6 };
const verdicts = (gates: Gates) => gateNames.map((name) => gates[name].verdict);

function gatesOf(all: Partial<Record<keyof Gates, Verdict>>): Gates {
  const gate = (name: keyof Gates) => ({ verdict: all[name] ?? ("pass" as const), reason: "", numbers: {} });
  const [memory, work, latency, invariants, errors] = gateNames.map(gate);
  if (!memory || !work || !latency || !invariants || !errors) throw new Error("a gate has no name");
  return { memory, work, latency, invariants, errors };
}

describe("a run", () => {
  test("of four hours in which all is well passes every gate", () => {
    expect(verdicts(judge(steady(480), context))).toEqual(["pass", "pass", "pass", "pass", "pass"]);
  });

  test("of twenty seconds can pass every gate", () => {
    expect(verdicts(judge(steady(60, { spacingS: 1 / 3 }), context))).toEqual(["pass", "pass", "pass", "pass", "pass"]);
  });

  test("that resends its history fails the work and the latency gate, and no other", () => {
    expect(verdicts(judge(reprefilled(60), context))).toEqual(["pass", "fail", "fail", "pass", "pass"]);
  });

  test("with no turn at all is inconclusive throughout", () => {
    expect(new Set(verdicts(judge([], context)))).toEqual(new Set(["inconclusive"]));
  });

  test("of which every turn failed says so", () => {
    const gates = judge(steady(30).map(failed), context);
    expect(gates.errors.verdict).toBe("fail");
    expect(gates.memory.verdict).toBe("inconclusive");
  });

  test("of an earlier runtime, with KV bytes of zero, is inconclusive where nothing was counted", async () => {
    const gates = judgeReport(await readReport(`${import.meta.dir}/data/bench_session_4h_1780332893.json`));
    expect(verdicts(gates)).toEqual(["inconclusive", "inconclusive", "pass", "inconclusive", "pass"]);
    expect(gates.memory.reason).toContain("zero on every turn");
    // 2.6 ms an hour on turns of 1.83 s: there, and too small to matter.
    expect(gates.latency.numbers.drift_percent).toBeCloseTo(0.6, 1);
  });
});

describe("invariants", () => {
  test("a violation on any turn fails, even where other counters are missing", () => {
    expect(invariantsGate(withTurn(steady(9), 4, { inv1: 1 })).verdict).toBe("fail");
    expect(invariantsGate(withTurn(steady(9), 8, { inv2: 3, inv1: null })).verdict).toBe("fail");
  });

  test("a missing counter is inconclusive", () => {
    expect(invariantsGate(withTurn(steady(9), 4, { inv1: null })).verdict).toBe("inconclusive");
    expect(invariantsGate(withTurn(steady(9), 4, { inv2: null })).verdict).toBe("inconclusive");
    expect(invariantsGate([]).verdict).toBe("inconclusive");
  });
});

test("one failed turn fails the errors gate, which names it", () => {
  const gate = errorsGate(withFailure(steady(9), 4));
  expect(gate.verdict).toBe("fail");
  expect(gate.reason).toBe("1 of 9 turns failed, the first at 120.0 s: Unavailable: the server went away");
});

describe("the exit code", () => {
  const lax = { strict: false };
  const strict = { strict: true };

  test("is 0 when all pass", () => {
    expect(exitCode(gatesOf({}), strict)).toBe(0);
  });

  test("is 3 when one fails, whichever, and whatever the others say", () => {
    const verdict = fc.constantFrom<Verdict>("pass", "fail", "inconclusive");
    fc.assert(
      fc.property(fc.tuple(verdict, verdict, verdict, verdict, verdict), fc.boolean(), (all, isStrict) => {
        const [memory, work, latency, invariants, errors] = all;
        const code = exitCode(gatesOf({ memory, work, latency, invariants, errors }), { strict: isStrict });
        expect(code === 3).toBe(all.includes("fail"));
      }),
    );
  });

  test("is 4 when one that counts is inconclusive", () => {
    for (const name of ["memory", "work", "invariants", "errors"] as const) {
      expect(exitCode(gatesOf({ [name]: "inconclusive" }), lax)).toBe(4);
    }
  });

  test("forgives an inconclusive clock, unless strict", () => {
    expect(exitCode(gatesOf({ latency: "inconclusive" }), lax)).toBe(0);
    expect(exitCode(gatesOf({ latency: "inconclusive" }), strict)).toBe(4);
  });

  test("of several runs is the worst one's", () => {
    const [good, doubtful, bad] = [gatesOf({}), gatesOf({ work: "inconclusive" }), gatesOf({ latency: "fail" })];
    expect(exitCode([good, doubtful], lax)).toBe(4);
    expect(exitCode([good, doubtful, bad], lax)).toBe(3);
    expect(exitCode([], lax)).toBe(0);
  });
});
