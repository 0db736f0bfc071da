import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { aggregate, aggregateV1, aggregateV2 } from "../../src/report/aggregate.ts";
import { judge } from "../../src/report/gates.ts";
import type { OkTurnV1, TurnV1 } from "../../src/report/report.ts";
import { readReport } from "../../src/report/report-file.ts";
import { failed, reportOf, slowed, steady, withFailure, withTurn, world } from "./series.ts";

const realFile = `${import.meta.dir}/data/bench_session_4h_1780332893.json`;

describe("schema 1", () => {
  test("every figure of a real four-hour file comes out again, to the last digit", async () => {
    const report = await readReport(realFile);
    expect(report.turns).toHaveLength(480);
    expect(JSON.stringify(aggregate(report))).toBe(JSON.stringify(report.agg));
  });

  test("no turns: counts are zero and every figure is null", () => {
    expect(aggregateV1([], null)).toEqual({
      n_turns: 0,
      n_errors: 0,
      duration_s: null,
      p50_latency_s: null,
      p95_latency_s: null,
      min_kv_live_bytes: null,
      mean_kv_live_bytes: null,
      max_kv_live_bytes: null,
      kv_bounded: null,
      prefill_bounded: null,
      latency_drift_p50_s: null,
      buckets_10min: [],
    });
  });

  test("failed turns count as errors alone, and are in no figure", () => {
    const turns = steady(20, { noise: 0 });
    const agg = aggregateV1([...turns.map(failed), ...turns], 1200);
    expect(agg).toMatchObject({ n_turns: 20, n_errors: 20, duration_s: 1200, p50_latency_s: 1.8 });
    expect(agg.buckets_10min).toHaveLength(1);
  });

  test("null KV values are left out, and all null gives null", () => {
    const turns = steady(20).map((turn, i) => (i < 10 ? { ...turn, kv_live_bytes: null } : turn));
    expect(aggregateV1(turns, 600).mean_kv_live_bytes).toBe(68 * 3072);
    const none = steady(2).map((turn) => ({ ...turn, kv_live_bytes: null }));
    expect(aggregateV1(none, 600)).toMatchObject({ min_kv_live_bytes: null, kv_bounded: null });
    expect(aggregateV1(none, 600).buckets_10min[0]?.mean_kv_live_bytes).toBeNull();
  });

  test("bytes are bounded below a tenth of growth, and not from there on", () => {
    const grown = (bytes: number) => aggregateV1(withTurn(steady(3), 2, { kv_live_bytes: bytes }), 90).kv_bounded;
    expect(grown(68 * 3072 * 1.1)).toBe(false);
    expect(grown(68 * 3072 * 1.1 - 1)).toBe(true);
    expect(aggregateV1(steady(1), 30).kv_bounded).toBeNull();
  });

  test("drift is the last five's median less the first five's, from ten turns on, and bounded up to 5 s", () => {
    const turns = steady(10, { noise: 0 });
    expect(aggregateV1(turns.slice(1), 300)).toMatchObject({ latency_drift_p50_s: null, prefill_bounded: null });
    const later = turns.map((turn, i) => (i < 5 ? turn : { ...turn, latency_s: turn.latency_s + 5.5 }));
    const agg = aggregateV1(later, 300);
    expect(agg.latency_drift_p50_s).toBeCloseTo(5.5, 12);
    expect(agg.prefill_bounded).toBe(false);
  });

  test("buckets are ten minutes long, in order, and empty ones are left out", () => {
    const turns = [1300, 599.9, 600, 0].flatMap((t) => withTurn(steady(1), 0, { t_relative_s: t }));
    expect(aggregateV1(turns, 1300).buckets_10min.map((b) => [b.bucket_index, b.n_turns])).toEqual([
      [0, 2],
      [1, 1],
      [2, 1],
    ]);
  });

  test("whatever the latencies: percentiles lie within them, and the turns' order does not matter to them", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ noNaN: true, min: 0, max: 1e4 }), { minLength: 1, maxLength: 50 }), (all) => {
        const turns = steady(all.length).map((turn, i) => ({ ...turn, latency_s: all[i] ?? 0 }));
        const agg = aggregateV1(turns, 1);
        expect(agg.p50_latency_s ?? -1).toBeGreaterThanOrEqual(Math.min(...all));
        expect(agg.p95_latency_s ?? -1).toBeGreaterThanOrEqual(agg.p50_latency_s ?? 0);
        const reversed = aggregateV1(turns.toReversed(), 1);
        expect(reversed.p50_latency_s).toBe(agg.p50_latency_s);
        expect(reversed.buckets_10min).toEqual(agg.buckets_10min);
      }),
    );
  });
});

describe("schema 1, read literally", () => {
  const seconds = fc.double({ noNaN: true, min: 0, max: 1e4 });
  const turn: fc.Arbitrary<TurnV1> = fc.oneof(
    fc.record({
      ok: fc.constant(true as const),
      t_relative_s: seconds,
      latency_s: seconds,
      kv_live_bytes: fc.option(fc.nat()),
      history_length: fc.nat(),
      n_emitted: fc.nat(),
      user_message_tokens: fc.nat(),
    }),
    fc.record({
      ok: fc.constant(false as const),
      t_relative_s: seconds,
      error_class: fc.string(),
      error_str: fc.string(),
    }),
  );

  /** The definitions word by word, as the writers of schema 1 computed them. */
  function literally(turns: readonly TurnV1[]) {
    const ok = turns.filter((turn) => turn.ok);
    const known = (of: readonly OkTurnV1[]) =>
      of.map((turn) => turn.kv_live_bytes).filter((v) => typeof v === "number");
    const rank = (values: number[], p: number) => {
      const sorted = values.toSorted((a, b) => a - b);
      const at = p * (sorted.length - 1);
      const [low, high] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
      return low === undefined || high === undefined ? null : low + (high - low) * (at - Math.floor(at));
    };
    const latencies = (of: readonly OkTurnV1[]) => of.map((turn) => turn.latency_s);
    const mean = (values: number[]) =>
      values.length === 0 ? null : values.toSorted((a, b) => a - b).reduce((sum, v) => sum + v, 0) / values.length;
    const kv = known(ok);
    const drift =
      ok.length < 10 ? null : (rank(latencies(ok.slice(-5)), 0.5) ?? 0) - (rank(latencies(ok.slice(0, 5)), 0.5) ?? 0);
    const indices = [...new Set(ok.map((turn) => Math.floor(turn.t_relative_s / 600)))].sort((a, b) => a - b);
    return {
      n_turns: ok.length,
      n_errors: turns.length - ok.length,
      duration_s: 9,
      p50_latency_s: rank(latencies(ok), 0.5),
      p95_latency_s: rank(latencies(ok), 0.95),
      min_kv_live_bytes: kv.length === 0 ? null : Math.min(...kv),
      mean_kv_live_bytes: mean(kv),
      max_kv_live_bytes: kv.length === 0 ? null : Math.max(...kv),
      kv_bounded: kv.length < 2 ? null : (Math.max(...kv) - Math.min(...kv)) / Math.max(Math.min(...kv), 1) < 0.1,
      prefill_bounded: drift === null ? null : drift <= 5,
      latency_drift_p50_s: drift,
      buckets_10min: indices.map((index) => {
        const within = ok.filter((turn) => Math.floor(turn.t_relative_s / 600) === index);
        return {
          bucket_index: index,
          n_turns: within.length,
          p50_latency_s: rank(latencies(within), 0.5),
          p95_latency_s: rank(latencies(within), 0.95),
          mean_kv_live_bytes: mean(known(within)),
        };
      }),
    };
  }

  test("whatever the turns, failed ones among them: every figure is as defined", () => {
    fc.assert(
      fc.property(fc.array(turn, { maxLength: 60 }), (turns) => {
        expect<unknown>(aggregateV1(turns, 9)).toEqual(literally(turns));
      }),
      { seed: 20260102 },
    );
  });
});

describe("schema 2", () => {
  test("adds what its turns say beyond schema 1", () => {
    const turns = steady(30, { noise: 0 });
    const agg = aggregateV2(turns, 900);
    expect(agg).toMatchObject(aggregateV1(turns, 900));
    expect(agg).toMatchObject({
      n_sessions: 1,
      n_emitted_total: 30 * 64,
      final_history_length: 30 * 73,
      p50_append_s: 0.18,
      p50_ttft_s: 0.225,
      p95_ttft_s: 0.225,
      p50_tpot_s: 1.8 / 64,
      p95_tpot_s: 1.8 / 64,
      max_itl_s: 1.8 / 32,
    });
  });

  test("a stall is charged to the turns that waited behind it", () => {
    const turns = withTurn(steady(3, { noise: 0 }), 1, { t_relative_s: 100, scheduled_s: 30 });
    expect(aggregateV2(turns, 102).max_response_s).toBeCloseTo(71.8, 9);
    expect(aggregateV2(turns, 102).p95_latency_s).toBe(1.8);
  });

  test("a run without any success has counts and nulls", () => {
    const agg = aggregateV2(steady(3).map(failed), 90);
    expect(agg).toMatchObject({ n_turns: 0, n_errors: 3, n_sessions: 1, n_emitted_total: 0 });
    expect(agg).toMatchObject({ final_history_length: null, p50_ttft_s: null, max_response_s: null });
    expect(agg).toMatchObject({ max_itl_s: null, min_server_rss_bytes: null, max_server_rss_bytes: null });
  });

  test("sessions at the same time have their throughput, their tails, and how often their server changed", () => {
    const names = ["a", "b", "a", "b", "b", "b"];
    const turns = steady(6, { noise: 0 }).map((turn, i) => ({ ...turn, session_index: i % 2, server: names[i] ?? "" }));
    expect(aggregateV2(turns, 100).together).toBeUndefined();
    const { together } = aggregateV2(turns, 100, 2);
    expect(together).toMatchObject({ emitted_per_s: 3.84, turns_per_s: 0.06, p99_latency_s: 1.8 });
    expect(together).toMatchObject({ n_servers: 2, n_server_changes: 1 });
    expect(aggregateV2(steady(6), 0, 2).together).toMatchObject({ emitted_per_s: null, n_servers: null });
  });

  test("a new session after a loss is counted", () => {
    const turns = withFailure(steady(4), 1).map((turn, i) => ({ ...turn, session_index: i < 2 ? 0 : 1 }));
    expect(aggregateV2(turns, 120).n_sessions).toBe(2);
  });

  test("the report's version decides which figures there are", () => {
    const turns = steady(3);
    const agg = aggregateV2(turns, 90);
    const report = reportOf(turns, { agg, gates: judge(turns, { world, rotation: 6 }) });
    expect(aggregate({ ...report, duration_s: 90 })).toEqual(agg);
    expect(aggregate({ schema_version: 1, kind: report.kind, turns })).toEqual(aggregateV1(turns, null));
  });
});

test("a slowdown shows in the last bucket", () => {
  const { buckets_10min } = aggregateV1(
    slowed(steady(60), (share) => 1 + share),
    1800,
  );
  expect(buckets_10min.at(-1)?.p50_latency_s ?? 0).toBeGreaterThan((buckets_10min[0]?.p50_latency_s ?? 0) * 1.4);
});
