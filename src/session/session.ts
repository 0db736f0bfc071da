import type { Engine, GenerateRequest, Sampling, SequenceId, SequenceState } from "../engine/engine.ts";
import { InvariantViolated, LogitsNotFinite, SessionError, sessionNotFound } from "./errors.ts";
import { IdStream } from "./id-stream.ts";
import { violationOf } from "./invariants.ts";
import { Turns } from "./turns.ts";

export type StopReason = "max-tokens" | "eos" | "cancelled";

/** What a generation says, in this order: at most one `truncated`, then ids, then one `done`. */
export type GenerationEvent =
  | { kind: "truncated"; droppedTokens: number }
  | { kind: "token"; tokenId: number }
  | { kind: "done"; stopReason: StopReason; generatedTokens: number; firstTokenS: number; totalS: number };

export interface GenerateOptions {
  maxTokens: number;
  sampling: Sampling;
  /** The caller went away: the generation throws the signal's reason. */
  signal?: AbortSignal;
  /** The server winds up: the generation ends with a `done` of its own, "cancelled". */
  stop?: AbortSignal;
  /** Steps that the engine may run before their ids are read, so that it never waits for the way to the reader. */
  ahead?: number;
}

export interface SessionInfo {
  historyTokens: number;
  /** Counted from the cache's rows. */
  liveBytes: number;
  slabBytes: number;
  computedTokens: number;
  generatedTokens: number;
  idleS: number;
}

/** What a session needs of the place it lives in. */
export interface SessionHost {
  readonly engine: Engine;
  /** Monotonic clock, in seconds. */
  readonly now: () => number;
  /** Calls that may wait for one session. */
  readonly maxWaitingCalls: number;
}

/**
 * One client's stream of tokens: counts its history, and owns the sequence of the engine that caches it.
 * It keeps no ids: nothing in it grows.
 *
 * Every call throws SessionError; after InvariantViolated, or an error of another class, the sequence must be freed and
 * the session forgotten.
 */
export class Session {
  #historyTokens = 0;
  #generatedTokens = 0;
  #liveBytes = 0;
  #activeAtS: number;
  #computing = false;
  /** Of the generation under way. */
  #stream: IdStream | undefined;
  readonly #turns: Turns;

  constructor(
    readonly id: string,
    /** The client's own words. */
    readonly label: string,
    readonly sequence: SequenceId,
    private readonly eosTokenIds: ReadonlySet<number>,
    private readonly host: SessionHost,
  ) {
    this.#turns = new Turns(host.maxWaitingCalls);
    this.#activeAtS = host.now();
  }

  get historyTokens(): number {
    return this.#historyTokens;
  }

  /** As counted from the cache's rows after its last change. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  get waitingCalls(): number {
    return this.#turns.waiting;
  }

  /** When the session last began a call or cached a token, by the host's clock. */
  get activeAtS(): number {
    return this.#activeAtS;
  }

  /** No call is in flight. */
  get idle(): boolean {
    return this.#turns.idle;
  }

  /** The engine has work for this session. */
  get computing(): boolean {
    return this.#computing || this.#stream?.resting === false;
  }

  /** From now on every call, waiting ones too, finds the session gone. */
  end(): void {
    this.#turns.close(sessionNotFound(this.id));
    void this.#stream?.stop();
  }

  /**
   * Appends ids (all below the vocabulary's size) and computes them; answers with the history's length.
   * Once its turn has come it runs to its end, whatever `signal` says.
   */
  async append(tokenIds: Uint32Array, signal?: AbortSignal): Promise<number> {
    using _turn = await this.#turns.begin(signal);
    this.#touch();
    await this.#recount();
    if (tokenIds.length > 0) {
      const state = await this.#compute(() => this.host.engine.append(this.sequence, tokenIds));
      this.#commit(tokenIds.length, state);
    }
    return this.#historyTokens;
  }

  async *generate(options: GenerateOptions): AsyncGenerator<GenerationEvent, void> {
    const { maxTokens, sampling, signal, stop, ahead = 2 } = options;
    using _turn = await this.#turns.begin(signal);
    this.#touch();
    const startedAtS = this.host.now();
    await this.#recount();
    if (this.#historyTokens === 0) {
      throw new SessionError("invalid-argument", "the session has no history to continue: append tokens first");
    }
    const droppedTokens = this.#historyTokens - this.#cacheTokens;
    if (droppedTokens > 0) yield { kind: "truncated", droppedTokens };

    let generatedTokens = 0;
    let firstTokenS = 0;
    const stream = this.#open({ maxTokens, sampling, eosTokenIds: [...this.eosTokenIds] }, ahead);
    using _stopped = onAbort([signal, stop], () => void stream.stop());
    try {
      for await (const tokenId of stream) {
        // Its reader may have rested for so long that the session was evicted meanwhile.
        if (this.#turns.closed !== undefined) throw this.#turns.closed;
        generatedTokens++;
        if (generatedTokens === 1) firstTokenS = this.host.now() - startedAtS;
        yield { kind: "token", tokenId };
      }
    } finally {
      // What has run is part of the history, whether it was read or not.
      await stream.stop();
      this.#stream = undefined;
    }
    signal?.throwIfAborted();
    if (this.#turns.closed !== undefined) throw this.#turns.closed;
    const stopReason = stream.reason === "stopped" ? "cancelled" : (stream.reason ?? "cancelled");
    yield { kind: "done", stopReason, generatedTokens, firstTokenS, totalS: this.host.now() - startedAtS };
  }

  /** Asking is not activity: it neither resets the idle time nor saves the session from eviction. */
  async info(signal?: AbortSignal): Promise<SessionInfo> {
    using _turn = await this.#turns.begin(signal);
    const state = await this.#recount();
    return {
      historyTokens: this.#historyTokens,
      liveBytes: state.liveBytes,
      slabBytes: this.host.engine.info.kvSlabBytes,
      computedTokens: state.computedTokens,
      generatedTokens: this.#generatedTokens,
      idleS: this.host.now() - this.#activeAtS,
    };
  }

  /** Ends the session after all calls that came before; answers with the history's length. */
  async close(signal?: AbortSignal): Promise<number> {
    using _turn = await this.#turns.begin(signal);
    this.end();
    return this.#historyTokens;
  }

  get #cacheTokens(): number {
    return this.host.engine.info.sink + this.host.engine.info.window;
  }

  /** Has the cache's rows counted anew, so that no call builds on a corrupt cache. */
  async #recount(): Promise<SequenceState> {
    const state = await this.#compute(() => this.host.engine.state(this.sequence));
    this.#commit(0, state);
    return state;
  }

  #open(request: GenerateRequest, ahead: number): IdStream {
    if (this.#turns.closed !== undefined) throw this.#turns.closed;
    this.#stream = new IdStream(
      this.host.engine,
      this.sequence,
      request,
      ({ tokenIds, state }) => {
        this.#commit(tokenIds.length, state);
        this.#generatedTokens += tokenIds.length;
      },
      ahead,
    );
    return this.#stream;
  }

  async #compute<T>(work: () => Promise<T>): Promise<T> {
    if (this.#turns.closed !== undefined) throw this.#turns.closed;
    this.#computing = true;
    try {
      return await work();
    } finally {
      this.#computing = false;
    }
  }

  /** `ran` more tokens are cached: counts them, and checks that the cache counts the same. */
  #commit(ran: number, state: SequenceState): void {
    const violation = violationOf({ historyBefore: this.#historyTokens, ran, cacheTokens: this.#cacheTokens }, state);
    if (violation !== undefined) throw new InvariantViolated(violation);
    this.#historyTokens += ran;
    this.#liveBytes = state.liveBytes;
    if (!state.finite) throw new LogitsNotFinite();
    if (ran > 0) this.#touch();
  }

  #touch(): void {
    this.#activeAtS = this.host.now();
  }
}

/** Calls `react` once when any of the signals aborts, or at once when one has; disposing stops listening. */
function onAbort(signals: (AbortSignal | undefined)[], react: () => void): Disposable {
  const any = AbortSignal.any(signals.filter((signal) => signal !== undefined));
  if (any.aborted) react();
  else any.addEventListener("abort", react, { once: true });
  return { [Symbol.dispose]: () => any.removeEventListener("abort", react) };
}
