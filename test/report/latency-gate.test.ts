import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { latencyGate } from "../../src/report/latency-gate.ts";
import { reprefilled, slowed, steady } from "./series.ts";

const rotation = 6;
const seeds = fc.integer({ min: 0, max: 1e6 });
/** Each run is a thousand refits. */
const few = { numRuns: 8 };

describe("passes", () => {
  test("a flat run, whatever its noise of 2%", () => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 30, max: 600 }), (seed, n) => {
        expect(latencyGate(steady(n, { noise: 0.02, seed }), rotation).verdict).toBe("pass");
      }),
      few,
    );
  });

  test("a run that drifts by 5%", () => {
    const gate = latencyGate(
      slowed(steady(480), (share) => 1 + 0.05 * share),
      rotation,
    );
    expect(gate.verdict).toBe("pass");
    expect(gate.numbers.drift_percent).toBeCloseTo(5, 0);
  });

  test("a run with a wild turn here and there", () => {
    const turns = steady(480).map((turn, i) => (i % 40 === 7 ? { ...turn, latency_s: 20 } : turn));
    expect(latencyGate(turns, rotation).verdict).toBe("pass");
  });

  test("a run whose turns emit fewer and fewer tokens in proportionally less time", () => {
    const turns = steady(120).map((turn, i) => {
      const emitted = 64 - Math.floor(i / 4);
      return { ...turn, n_emitted: emitted, latency_s: (turn.latency_s * emitted) / 64 };
    });
    expect(latencyGate(turns, rotation).verdict).toBe("pass");
  });
});

describe("fails", () => {
  test("slow growth of 12% over the run, whatever its noise of 2%", () => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 100, max: 600 }), (seed, n) => {
        const turns = slowed(steady(n, { noise: 0.02, seed }), (share) => 1 + 0.12 * share);
        expect(latencyGate(turns, rotation).verdict).toBe("fail");
      }),
      few,
    );
  });

  test("a step of a quarter in the middle", () => {
    const gate = latencyGate(
      slowed(steady(480), (share) => (share < 0.5 ? 1 : 1.25)),
      rotation,
    );
    expect(gate.verdict).toBe("fail");
    expect(gate.numbers.end_to_start).toBeCloseTo(1.25, 1);
  });

  test("a jump so late that the slope does not see it", () => {
    const gate = latencyGate(
      slowed(steady(480), (share) => (share < 0.95 ? 1 : 1.6)),
      rotation,
    );
    expect(gate.numbers.drift_percent).toBeCloseTo(0, 0);
    expect(gate.verdict).toBe("fail");
  });

  test("the negative control, whose turns take longer as the history grows", () => {
    expect(latencyGate(reprefilled(40), rotation).verdict).toBe("fail");
    expect(latencyGate(reprefilled(480), rotation).verdict).toBe("fail");
  });

  test("a run that gets faster by a fifth: it was not what it seemed either", () => {
    const faster = slowed(steady(480), (share) => 1.25 - 0.25 * share);
    expect(latencyGate(faster, rotation).verdict).toBe("fail");
  });
});

describe("is inconclusive", () => {
  test("with fewer than 20 turns, however they behave", () => {
    expect(latencyGate(steady(20), rotation).verdict).toBe("pass");
    expect(latencyGate(steady(19), rotation).verdict).toBe("inconclusive");
    expect(latencyGate(reprefilled(19), rotation).verdict).toBe("inconclusive");
    expect(latencyGate([], rotation).verdict).toBe("inconclusive");
  });

  test("when a run of less than 5 minutes drifts by less than half: the machine may have done that", () => {
    const shape = { spacingS: 1, noise: 0.005 };
    const drift = (by: number, n = 120) =>
      latencyGate(
        slowed(steady(n, shape), (share) => 1 + by * share),
        rotation,
      );
    expect(drift(0.3).verdict).toBe("inconclusive");
    expect(drift(0.3).reason).toStartWith("too short to tell: ");
    expect(drift(-0.3).verdict).toBe("inconclusive");
    expect(drift(0.8).verdict).toBe("fail");
    expect(drift(0.3, 400).verdict).toBe("fail");
  });

  test("under heavy noise", () => {
    const gate = latencyGate(steady(40, { noise: 0.8 }), rotation);
    expect(gate.verdict).toBe("inconclusive");
    expect(gate.reason).toStartWith("too noisy to tell: ");
  });

  test("when the estimate lies within the band and its interval reaches out", () => {
    const turns = slowed(steady(60, { noise: 0.1, seed: 4 }), (share) => 1 + 0.09 * share);
    const gate = latencyGate(turns, rotation);
    expect(Math.abs(Number(gate.numbers.drift_percent))).toBeLessThan(10);
    expect(Number(gate.numbers.drift_percent_high)).toBeGreaterThan(10);
    expect(gate.verdict).toBe("inconclusive");
  });

  test("when turns take no time, emit nothing, or all began at one moment", () => {
    const turns = steady(40);
    for (const change of [{ latency_s: 0 }, { n_emitted: 0 }, { t_relative_s: 5 }]) {
      const gate = latencyGate(
        turns.map((turn) => ({ ...turn, ...change })),
        rotation,
      );
      expect(gate.verdict).toBe("inconclusive");
    }
  });
});

test("the same turns give the same numbers again", () => {
  expect(latencyGate(steady(300), rotation)).toEqual(latencyGate(steady(300), rotation));
});

test("hours asleep in the middle of the run don't make it fail", () => {
  const turns = steady(120).map((turn, i) => ({ ...turn, t_relative_s: turn.t_relative_s + (i < 60 ? 0 : 10_000) }));
  expect(latencyGate(turns, rotation).verdict).toBe("pass");
});
