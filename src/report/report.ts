/**
 * What a bench report holds: the two schema versions that `aggregate` reads. Names are the file's own
 * (snake_case), durations are seconds, sizes are bytes, times of day are Unix seconds.
 */

export const reportKind = "bench_session_long_run";

/** Marks a page that was made from reports. */
export const pageGenerator = "kakeya aggregate";

export type Report = ReportV1 | ReportV2;

/** Schema 1: files of earlier runtimes, where only the turns can be relied on. */
export interface ReportV1 extends Partial<Omit<ReportHead, "kind">> {
  schema_version: 1;
  kind: typeof reportKind;
  config?: Partial<ConfigV1>;
  turns: TurnV1[];
  /** As the writer computed it; absent or null in a partial file. */
  agg?: Partial<AggV1> | null;
}

/** Schema 2: ours. `agg` and `gates` are what `aggregate` computed when the file was written. */
export interface ReportV2 extends ReportHead {
  schema_version: 2;
  duration_s: number;
  finished_at: number;
  config: ConfigV2;
  world: World;
  /** In a checkpoint: what a bench needs to go on. Whoever has the id can use the session. */
  resume?: ResumePoint;
  /** Where the server was killed on the way and came back; absent: nowhere. */
  restarts?: Restart[];
  turns: TurnV2[];
  agg: AggV2;
  gates: Gates;
}

export interface ResumePoint {
  session_id: string;
  /** Sessions that the run has opened, this one included. */
  sessions_opened: number;
}

export interface Restart {
  /** When it was killed, in seconds since the run's start. */
  t_relative_s: number;
  /** Time until it answered again. */
  down_s: number;
}

interface ReportHead {
  kind: typeof reportKind;
  /** True for a checkpoint and for a run that ended before its target. */
  partial: boolean;
  /** Why the run ended early, for example "SIGINT"; null when it did not. */
  abort_reason: string | null;
  started_at: number;
  /** When this file's content was taken. */
  finished_at: number | null;
  /** From the run's start to when this content was taken, by a monotonic clock. */
  duration_s: number | null;
}

export interface ConfigV1 {
  grpc_address: string;
  tokenizer_id: string;
  duration_s_target: number;
  turn_spacing_s: number;
  max_tokens: number;
}

export interface ConfigV2 extends ConfigV1 {
  /** Stop after this many turns; null: only the duration ends the run. */
  turns_target: number | null;
  checkpoint_every_s: number;
  /** Turns that ran before the first recorded one, in a session of their own. */
  warm_up_turns: number;
  /** "built-in" or the path of the workload file. */
  workload: string;
  /** Messages in one rotation: the block of the latency gate's bootstrap. */
  workload_messages: number;
  template: "raw" | "chatml";
  /** "reprefill": the negative control, a new session with the whole history each turn. */
  control: "none" | "reprefill";
  /** Whether the bench started the server itself. */
  own_server: boolean;
  /** Sessions that talk at the same time; absent: one. */
  sessions?: number;
}

/** What the numbers depend on: the runtime, the model, the machine and its load. */
export interface World {
  /** kakeya's version, of the server that was measured. */
  version: string;
  /** The source revision of the binary, where it is known. */
  commit: string | null;
  model_id: string;
  model_fingerprint: string;
  architecture: string;
  quantization: string;
  /** S: tokens at the start that are never evicted. */
  sink: number;
  /** W: the last tokens that are kept. */
  window: number;
  block: number;
  /** How keys and values are held; absent in older reports, which held them as floats. */
  kv_format?: string;
  /** Live bytes one cached token takes over all layers. */
  kv_bytes_per_token: number;
  exact: boolean;
  /** What ran the model: "cpu" or "gpu"; absent in older reports, which had the processor alone. */
  device?: string;
  /** The GPU's name, its interface and its driver; empty for the processor. */
  adapter?: string;
  /** The most guesses of a step; absent in older reports. */
  draft_limit?: number;
  vocab_size: number;
  cpu_model: string;
  cores: number;
  memory_total_bytes: number;
  /** Platform, release and architecture, for example "linux 6.1.0 x64". */
  os: string;
  /** 1, 5 and 15 minutes. */
  load_average_start: [number, number, number];
  load_average_end: [number, number, number];
  command_line: string[];
}

export type TurnV1 = OkTurnV1 | FailedTurnV1;
export type TurnV2 = OkTurnV2 | FailedTurnV2;
export type Turn = TurnV1 | TurnV2;
/** A successful turn of either schema: what schema 1 lacks is optional. */
export type OkTurn = OkTurnV1 & Partial<Omit<OkTurnV2, keyof OkTurnV1>>;

export interface OkTurnV1 {
  ok: true;
  /** When the turn began, since the run's start. */
  t_relative_s: number;
  /** Append and generate together, from the turn's actual start. */
  latency_s: number;
  /** After the turn; null or absent when the server did not say. */
  kv_live_bytes?: number | null;
  /** Tokens after the turn. */
  history_length: number;
  n_emitted: number;
  user_message_tokens: number;
}

export interface FailedTurnV1 {
  ok: false;
  t_relative_s: number;
  error_class: string;
  error_str: string;
}

interface TurnPlaceV2 {
  /** 0 for the first session of the run; one more each time the bench opened a new one. Turns of several may alternate. */
  session_index: number;
  /** Which message of the workload's rotation, from 0. */
  message_index: number;
  /** When the turn was meant to begin. Equal to `t_relative_s` when the run has no spacing. */
  scheduled_s: number;
  /** The bench was started again before this turn: what its session did since the turn before is not recorded. */
  resumed?: true;
}

export interface OkTurnV2 extends OkTurnV1, TurnPlaceV2 {
  append_s: number;
  /** From the turn's start to the first token id; null when none came. */
  ttft_s: number | null;
  /** Mean gap between ids after the first; null for fewer than two. */
  tpot_s: number | null;
  /** The longest gap between two ids; null for fewer than two. */
  itl_max_s: number | null;
  /** "MAX_TOKENS", "EOS", "CANCELLED", "TRUNCATED" or "UNSPECIFIED". */
  stop_reason: string;
  kv_live_bytes: number | null;
  kv_slab_bytes: number | null;
  /** Every token the engine ever ran for this session. */
  computed_token_total: number | null;
  /** Guesses of the next ids that were run for this session, and those that were right; absent in older reports. */
  drafted_token_total?: number | null;
  accepted_draft_total?: number | null;
  server_rss_bytes: number | null;
  /** The server that answered, where several have names (serve --server-name). */
  server?: string;
  /** Violations the server counted for this session. */
  inv1: number | null;
  inv2: number | null;
}

export interface FailedTurnV2 extends FailedTurnV1, TurnPlaceV2 {}

/** Every figure of schema 1, recomputable from `turns` and `duration_s`. */
export interface AggV1 {
  /** Successful turns; a failed one counts in n_errors alone. */
  n_turns: number;
  n_errors: number;
  duration_s: number | null;
  p50_latency_s: number | null;
  p95_latency_s: number | null;
  min_kv_live_bytes: number | null;
  mean_kv_live_bytes: number | null;
  max_kv_live_bytes: number | null;
  /** (max - min) / max(min, 1) < 0.10; null for fewer than 2 samples. A series of zeros is "bounded": see Gates. */
  kv_bounded: boolean | null;
  /** median(last 5) - median(first 5) <= 5.0 s; null for fewer than 10 turns. A weak test as well. */
  prefill_bounded: boolean | null;
  /** median(last 5) - median(first 5) of latency_s; null for fewer than 10 turns. */
  latency_drift_p50_s: number | null;
  buckets_10min: Bucket[];
}

/** The successful turns with floor(t_relative_s / 600) = bucket_index; empty buckets are left out. */
export interface Bucket {
  bucket_index: number;
  n_turns: number;
  p50_latency_s: number;
  p95_latency_s: number;
  mean_kv_live_bytes: number | null;
}

export interface AggV2 extends AggV1 {
  n_sessions: number;
  n_emitted_total: number;
  final_history_length: number | null;
  p50_append_s: number | null;
  p50_ttft_s: number | null;
  p95_ttft_s: number | null;
  p50_tpot_s: number | null;
  p95_tpot_s: number | null;
  max_itl_s: number | null;
  /** From the scheduled start to the turn's end: a stall is charged to the turns that waited behind it. */
  p50_response_s: number | null;
  p95_response_s: number | null;
  max_response_s: number | null;
  min_server_rss_bytes: number | null;
  max_server_rss_bytes: number | null;
  /** Of several sessions at the same time; absent for one. */
  together?: AggTogether;
}

export interface AggTogether {
  /** Ids of all sessions, over the whole run. */
  emitted_per_s: number | null;
  turns_per_s: number | null;
  p99_latency_s: number | null;
  p99_ttft_s: number | null;
  p99_response_s: number | null;
  /** Null where servers have no names. */
  n_servers: number | null;
  /** Turns that another server answered than the session's turn before. */
  n_server_changes: number | null;
}

export type Verdict = "pass" | "fail" | "inconclusive";

/** One gate's answer: a sentence a person can act on, and the numbers behind it. */
export interface Gate {
  verdict: Verdict;
  reason: string;
  numbers: Record<string, number | boolean | null>;
}

export const gateNames = ["memory", "work", "latency", "invariants", "errors"] as const;
export type GateName = (typeof gateNames)[number];
export type Gates = Record<GateName, Gate>;
