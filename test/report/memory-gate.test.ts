import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { memoryGate } from "../../src/report/memory-gate.ts";
import type { OkTurnV2 } from "../../src/report/report.ts";
import { slabBytes, steady, withTurn, world } from "./series.ts";

const fourHours = steady(480);
/** Too short for resident memory to be judged. */
const halfHour = steady(60);

describe("counted bytes", () => {
  test("a run that holds exactly what it should passes", () => {
    const gate = memoryGate(fourHours, world);
    expect(gate.verdict).toBe("pass");
    expect(gate.numbers).toMatchObject({ turns: 480, wrong_turns: 0, missing_turns: 0, tokens_kept: 68 });
    expect(gate.numbers).toMatchObject({ kv_slab_bytes: slabBytes, rss_judged: true });
  });

  test("one wrong byte, on whatever turn and in either direction, fails", () => {
    fc.assert(
      fc.property(fc.nat(59), fc.constantFrom(-1, 1), (at, byte) => {
        const turns = withTurn(halfHour, at, { kv_live_bytes: 68 * 3072 + byte });
        const gate = memoryGate(turns, world);
        expect(gate.verdict).toBe("fail");
        expect(gate.numbers.wrong_turns).toBe(1);
        expect(gate.reason).toContain(`${68 * 3072 + byte} live bytes instead of ${68 * 3072}`);
      }),
    );
  });

  test("a leak in KV bytes fails", () => {
    const leaking = halfHour.map((turn, i) => ({ ...turn, kv_live_bytes: (turn.kv_live_bytes ?? 0) + i * 3072 }));
    expect(memoryGate(leaking, world).verdict).toBe("fail");
  });

  test("before the window is full, bytes must follow the history", () => {
    const filling = withTurn(steady(3), 0, { history_length: 10, kv_live_bytes: 10 * 3072 });
    expect(memoryGate(filling, world).verdict).toBe("pass");
    expect(memoryGate(withTurn(filling, 0, { kv_live_bytes: 68 * 3072 }), world).verdict).toBe("fail");
  });

  test("a slab that changes, or could not hold what it says it holds, fails", () => {
    const grown = memoryGate(withTurn(halfHour, 30, { kv_slab_bytes: slabBytes + 1 }), world);
    expect(grown.verdict).toBe("fail");
    expect(grown.reason).toContain(`a slab of ${slabBytes + 1} bytes instead of ${slabBytes}`);
    const empty = memoryGate(
      halfHour.map((turn) => ({ ...turn, kv_slab_bytes: 0 })),
      world,
    );
    expect(empty.verdict).toBe("fail");
    expect(empty.reason).toContain("a slab of 0 bytes for");
  });

  test("a zero among true values fails; nothing but zeros is inconclusive", () => {
    expect(memoryGate(withTurn(halfHour, 7, { kv_live_bytes: 0 }), world).verdict).toBe("fail");
    const zeros = memoryGate(
      halfHour.map((turn) => ({ ...turn, kv_live_bytes: 0 })),
      world,
    );
    expect(zeros).toMatchObject({ verdict: "inconclusive", reason: "live bytes are zero on every turn" });
  });

  test("a missing value is inconclusive, never a pass; a wrong one elsewhere still fails", () => {
    const missing: Partial<OkTurnV2>[] = [{ kv_live_bytes: null }, { kv_slab_bytes: null }, { server_rss_bytes: null }];
    for (const change of missing) {
      const turns = withTurn(halfHour, 10, change);
      expect(memoryGate(turns, world).verdict).toBe("inconclusive");
      expect(memoryGate(withTurn(turns, 20, { kv_live_bytes: 1 }), world).verdict).toBe("fail");
    }
    const none = halfHour.map((turn) => ({ ...turn, kv_live_bytes: null }));
    expect(memoryGate(none, world).verdict).toBe("inconclusive");
  });

  test("without turns, or without what a token costs, it is inconclusive", () => {
    expect(memoryGate([], world)).toMatchObject({ verdict: "inconclusive", reason: expect.stringMatching(/^no turn/) });
    expect(memoryGate(halfHour, null).verdict).toBe("inconclusive");
  });
});

describe("resident memory", () => {
  const climbing = (percentPerHour: number) =>
    fourHours.map((turn) => ({
      ...turn,
      server_rss_bytes: Math.round(
        (turn.server_rss_bytes ?? 0) * (1 + ((percentPerHour / 100) * turn.t_relative_s) / 3600),
      ),
    }));

  test("a climb of 2% an hour fails, one of half a percent passes", () => {
    const gate = memoryGate(climbing(2), world);
    expect(gate.verdict).toBe("fail");
    expect(gate.reason).toMatch(/^resident memory grows by 1\.9\d% an hour \(95% CI 1\.9\d to 1\.9\d\), more than 1%$/);
    const slow = memoryGate(climbing(0.5), world);
    expect(slow.verdict).toBe("pass");
    expect(slow.reason).toMatch(/; resident memory grows by 0\.[45]\d% an hour \(.*\), within 1%$/);
  });

  test("shrinking is no leak", () => {
    const gate = memoryGate(climbing(-3), world);
    expect(gate.verdict).toBe("pass");
    expect(gate.reason).toMatch(/resident memory shrinks by \d\.\d\d% an hour \(.*\), within 1%$/);
  });

  test("growth during warm-up is forgiven", () => {
    const warming = fourHours.map((turn, i) => ({
      ...turn,
      server_rss_bytes: (turn.server_rss_bytes ?? 0) * (i < 100 ? 0.5 + i / 200 : 1),
    }));
    expect(memoryGate(warming, world).verdict).toBe("pass");
  });

  test("when its interval straddles the limit, it says so", () => {
    const jumpy = climbing(1.03).map((turn, i) => ({
      ...turn,
      server_rss_bytes: turn.server_rss_bytes + ((i * 7919) % 13) * 1_000_000,
    }));
    const gate = memoryGate(jumpy, world);
    expect(gate.verdict).toBe("inconclusive");
    expect(gate.reason).toEndWith(", too noisy to compare with 1%");
  });

  test("a run of seconds is not judged by it: the counts decide, and the reason says so", () => {
    const short = steady(40, { spacingS: 0.5 }).map((turn, i) => ({ ...turn, server_rss_bytes: 1e8 + i * 1e6 }));
    const gate = memoryGate(short, world);
    expect(gate.verdict).toBe("pass");
    expect(gate.reason).toContain("resident memory not judged");
    expect(gate.numbers).toMatchObject({ rss_judged: false, rss_percent_per_hour: null });
    expect(memoryGate(withTurn(short, 3, { kv_live_bytes: 1 }), world).verdict).toBe("fail");
  });

  test("zeros are not judged either", () => {
    const zeros = fourHours.map((turn) => ({ ...turn, server_rss_bytes: 0 }));
    expect(memoryGate(zeros, world).numbers.rss_judged).toBe(false);
  });
});
