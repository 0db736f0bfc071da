import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { EngineInfo } from "../engine/engine.ts";
import type { Invariant } from "../session/invariants.ts";
import type { GenerationEvent, StopReason } from "../session/session.ts";
import type { EvictionReason, SessionOutcome, SessionStore } from "../session/store.ts";
import type { Connections } from "./connections.ts";
import { collectProcessMetrics } from "./process-metrics.ts";

const prefix = "kakeya_";
const latencyBucketsS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const tokenBuckets = [1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144];

/** In vLLM's terms. */
const finishedReason: Record<StopReason, string> = { eos: "stop", "max-tokens": "length", cancelled: "abort" };

const outcomes: SessionOutcome[] = ["closed", "evicted", "violated", "failed", "shutdown"];
const evictionReasons: EvictionReason[] = ["capacity", "idle"];
const invariants: Invariant[] = ["inv1", "inv2"];

/** Of this executable. */
export interface BuildInfo {
  version: string;
  /** Empty when it runs from source. */
  commit: string;
}

/** What the server counts. Where vLLM has such a metric, it has the same name here but for the prefix. */
export class Metrics {
  readonly registry = new Registry();

  readonly sessionTotal = this.#counter("session_total", "Sessions that ended, and how", ["outcome"]);
  readonly sessionEvicted = this.#counter("session_evicted_total", "Sessions evicted, and why", ["reason"]);
  readonly parked = this.#counter("session_parked_total", "Sessions that left memory and can come back");
  readonly #restoreDuration = this.#histogram(
    "session_restore_seconds",
    "Time in which a session came back into memory",
  );
  readonly #replayedTokens = this.#counter("replayed_tokens_total", "Tokens computed again to bring sessions back");
  readonly takeovers = this.#counter("state_takeovers_total", "Sessions taken from servers whose lease had run out");
  readonly lostLeases = this.#counter("state_lost_leases_total", "Sessions that this server lost to others");
  readonly violations = this.#counter("cache_invariant_violations_total", "Corrupt caches found", ["kind"]);
  readonly #promptTokens = this.#counter("prompt_tokens_total", "Tokens appended");
  readonly drafted = this.#counter("spec_decode_num_draft_tokens_total", "Guesses of next ids that were run");
  readonly accepted = this.#counter("spec_decode_num_accepted_tokens_total", "Guesses that were right");
  readonly #generationTokens = this.#counter("generation_tokens_total", "Tokens generated");
  readonly #finished = this.#counter("request_success_total", "Generations that ended without an error", [
    "finished_reason",
  ]);
  readonly #prefillTokens = this.#histogram("generate_prefill_tokens", "Tokens of one append", tokenBuckets);
  readonly #prefillDuration = this.#histogram("generate_prefill_duration_seconds", "Time of one append");
  readonly #firstToken = this.#histogram("time_to_first_token_seconds", "From a Generate's arrival to its first id");
  readonly #interToken = this.#histogram("inter_token_latency_seconds", "Between two ids of one Generate");

  /** @param now monotonic clock, in seconds */
  constructor(private readonly now: () => number) {
    collectProcessMetrics(this.registry);
    // An alert on a counter that does not exist yet never fires.
    for (const outcome of outcomes) this.sessionTotal.inc({ outcome }, 0);
    for (const reason of evictionReasons) this.sessionEvicted.inc({ reason }, 0);
    for (const kind of invariants) this.violations.inc({ kind }, 0);
    for (const reason of Object.values(finishedReason)) this.#finished.inc({ finished_reason: reason }, 0);
  }

  /** What runs: series that are always 1, to join others with. */
  describe(build: BuildInfo, engine: EngineInfo): void {
    this.#info("build_info", "The executable", { ...build });
    this.#info("model_info", "The model that is served", {
      model_id: engine.modelId,
      fingerprint: engine.fingerprint,
      quantization: engine.quantization,
      device: engine.facts.device,
      adapter: engine.adapter,
      sink: String(engine.sink),
      window: String(engine.window),
    });
  }

  /** Gauges are read from their owners when they are scraped. */
  watch(store: SessionStore, connections: Connections, callsInFlight: () => number): void {
    this.gauge("connections", "Connections open", () => connections.count);
    this.#countOf(
      "connections_turned_away_total",
      "Connections closed because there was no room",
      () => connections.turnedAway,
    );
    this.gauge("session_active", "Sessions open", () => store.activeCount);
    this.gauge("session_capacity", "Sessions that fit into memory", () => store.capacity);
    this.gauge("session_kv_live_bytes", "Live key/value bytes of all sessions", () =>
      sum(store, (session) => session.liveBytes),
    );
    this.gauge("session_history_tokens", "Tokens in the histories of all sessions", () =>
      sum(store, (session) => session.historyTokens),
    );
    this.gauge("num_requests_running", "Calls in flight", callsInFlight);
    this.gauge("num_requests_waiting", "Calls that wait for their session or for the engine", () => store.queueDepth);
    if (store.stateSizes) this.#watchState(store, store.stateSizes);
  }

  /** What is not in memory; read when it is scraped. */
  #watchState(store: SessionStore, stateSizes: NonNullable<SessionStore["stateSizes"]>): void {
    type Sizes = Awaited<ReturnType<typeof stateSizes>>;
    const sizes = async (of: (sizes: Sizes) => number) => of(await stateSizes());
    this.gauge("state_connected", "1 while the state can be reached", async () =>
      (await store.fleet?.())?.connected === false ? 0 : 1,
    );
    this.gauge("session_parked", "Sessions that are not in memory", () =>
      sizes(({ sessions }) => Math.max(0, sessions - store.activeCount)),
    );
    this.gauge("state_journal_bytes", "Bytes of the journal of ids", () => sizes(({ journalBytes }) => journalBytes));
    this.gauge("state_snapshot_bytes", "Bytes of all snapshots", () => sizes(({ snapshotBytes }) => snapshotBytes));
  }

  appended(tokens: number, durationS: number): void {
    this.#promptTokens.inc(tokens);
    this.#prefillTokens.observe(tokens);
    this.#prefillDuration.observe(durationS);
  }

  restored(durationS: number, replayedTokens: number): void {
    this.#restoreDuration.observe(durationS);
    this.#replayedTokens.inc(replayedTokens);
  }

  /** Passes a generation on and times its ids. */
  async *timed(events: AsyncIterable<GenerationEvent>): AsyncGenerator<GenerationEvent, void> {
    let last = this.now();
    let ids = 0;
    for await (const event of events) {
      if (event.kind === "token") {
        const now = this.now();
        (ids === 0 ? this.#firstToken : this.#interToken).observe(now - last);
        last = now;
        ids++;
        this.#generationTokens.inc();
      } else if (event.kind === "done") {
        this.#finished.inc({ finished_reason: finishedReason[event.stopReason] });
      }
      yield event;
    }
  }

  #counter(name: string, help: string, labelNames: string[] = []): Counter {
    return new Counter({ name: `${prefix}${name}`, help, labelNames, registers: [this.registry] });
  }

  #histogram(name: string, help: string, buckets = latencyBucketsS, labelNames: string[] = []): Histogram {
    return new Histogram({ name: `${prefix}${name}`, help, buckets, labelNames, registers: [this.registry] });
  }

  #info(name: string, help: string, labels: Record<string, string>): void {
    const options = { name: `${prefix}${name}`, help, labelNames: Object.keys(labels), registers: [this.registry] };
    new Gauge(options).set(labels, 1);
  }

  #countOf(name: string, help: string, read: () => number): void {
    new Counter({
      name: `${prefix}${name}`,
      help,
      registers: [this.registry],
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  }

  /** A gauge of `name`, read when it is scraped. */
  gauge(name: string, help: string, read: () => number | Promise<number>): void {
    new Gauge({
      name: `${prefix}${name}`,
      help,
      registers: [this.registry],
      async collect() {
        this.set(await read());
      },
    });
  }
}

function sum(store: SessionStore, of: (session: { liveBytes: number; historyTokens: number }) => number): number {
  let total = 0;
  for (const session of store.sessions) total += of(session);
  return total;
}
