import type { FailedTurnV2, OkTurnV2, ReportV2, TurnV2, World } from "../../src/report/report.ts";
import { splitMix32 } from "../../src/report/stats.ts";

export const world: World = {
  version: "0.0.0-test",
  commit: null,
  model_id: "kakeya-tiny",
  model_fingerprint: "00",
  architecture: "Qwen3ForCausalLM",
  quantization: "q8",
  sink: 4,
  window: 64,
  block: 32,
  kv_bytes_per_token: 3072,
  exact: true,
  vocab_size: 2048,
  cpu_model: "none",
  cores: 1,
  memory_total_bytes: 1,
  os: "none",
  load_average_start: [0, 0, 0],
  load_average_end: [0, 0, 0],
  command_line: ["kakeya", "bench"],
};

export const slabBytes = 442_368;
export const ownTokens = 73;

interface Shape {
  spacingS?: number;
  /** The relative noise of a latency: uniform in +-noise. */
  noise?: number;
  seed?: number;
}

/** The turns of a run in which everything is as it should be: one session, flat but for noise. */
export function steady(n: number, { spacingS = 30, noise = 0.01, seed = 1 }: Shape = {}): OkTurnV2[] {
  const random = splitMix32(seed);
  return Array.from({ length: n }, (_, i) => {
    const history = (i + 1) * ownTokens;
    const latencyS = 1.8 * (1 + noise * (2 * random() - 1));
    return {
      ok: true,
      session_index: 0,
      message_index: i % 6,
      scheduled_s: i * spacingS,
      t_relative_s: i * spacingS + 0.001 * random(),
      latency_s: latencyS,
      kv_live_bytes: Math.min(history, world.sink + world.window) * world.kv_bytes_per_token,
      history_length: history,
      n_emitted: 64,
      user_message_tokens: ownTokens - 64,
      append_s: latencyS / 10,
      ttft_s: latencyS / 8,
      tpot_s: latencyS / 64,
      itl_max_s: latencyS / 32,
      stop_reason: "MAX_TOKENS",
      kv_slab_bytes: slabBytes,
      computed_token_total: history,
      server_rss_bytes: 200_000_000 + Math.round(400_000 * random()),
      inv1: 0,
      inv2: 0,
    };
  });
}

/** The same turns with some fields of turn `at` replaced. */
export function withTurn(turns: readonly OkTurnV2[], at: number, change: Partial<OkTurnV2>): OkTurnV2[] {
  return turns.map((turn, i) => (i === at ? { ...turn, ...change } : turn));
}

/** The same turns with latencies multiplied by a factor of the turn's share of the run, from 0 to 1. */
export function slowed(turns: readonly OkTurnV2[], factor: (share: number) => number): OkTurnV2[] {
  return turns.map((turn, i) => ({ ...turn, latency_s: turn.latency_s * factor(i / (turns.length - 1)) }));
}

/** The same turns with a failure in the place of turn `at`. */
export function withFailure(turns: readonly OkTurnV2[], at: number): TurnV2[] {
  return turns.map((turn, i) => (i === at ? failed(turn) : turn));
}

export function failed({ session_index, message_index, scheduled_s, t_relative_s }: TurnV2): FailedTurnV2 {
  return {
    ok: false,
    session_index,
    message_index,
    scheduled_s,
    t_relative_s,
    error_class: "Unavailable",
    error_str: "the server went away",
  };
}

/** What the negative control records: the whole history in a new session each turn, and time that grows with it. */
export function reprefilled(n: number): OkTurnV2[] {
  return steady(n).map((turn, i) => ({
    ...turn,
    session_index: i,
    latency_s: turn.latency_s * (1 + i / 20),
  }));
}

export function reportOf(turns: TurnV2[], figures: Pick<ReportV2, "agg" | "gates">): ReportV2 {
  const durationS = (turns.at(-1)?.t_relative_s ?? 0) + 30;
  return {
    schema_version: 2,
    kind: "bench_session_long_run",
    partial: false,
    abort_reason: null,
    started_at: 1_780_332_895.5,
    finished_at: 1_780_332_895.5 + durationS,
    duration_s: durationS,
    config: {
      grpc_address: "127.0.0.1:50051",
      tokenizer_id: "kakeya-tiny",
      duration_s_target: durationS,
      turn_spacing_s: 30,
      max_tokens: 64,
      turns_target: null,
      checkpoint_every_s: 600,
      warm_up_turns: 0,
      workload: "built-in",
      workload_messages: 6,
      template: "raw",
      control: "none",
      own_server: false,
    },
    world,
    turns,
    ...figures,
  };
}
