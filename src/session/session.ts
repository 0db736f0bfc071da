import type { Engine, Sampling, SlabId, SlabState } from "../engine/engine.ts";
import { InvariantViolated, LogitsNotFinite, SessionError, sessionNotFound } from "./errors.ts";
import { violationOf } from "./invariants.ts";
import type { Scheduler } from "./scheduler.ts";
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
}

export interface SessionInfo {
  historyTokens: number;
  /** Counted from the slab's rows. */
  liveBytes: number;
  slabBytes: number;
  computedTokens: number;
  generatedTokens: number;
  idleS: number;
}

/** What a session needs of the place it lives in. */
export interface SessionHost {
  readonly engine: Engine;
  readonly scheduler: Scheduler;
  /** Monotonic clock, in seconds. */
  readonly now: () => number;
  /** Calls that may wait for one session. */
  readonly maxWaitingCalls: number;
}

/**
 * One client's stream of tokens: counts its history, and owns one slab of the engine that caches it.
 * It keeps no ids: nothing in it grows.
 *
 * Every call throws SessionError; after InvariantViolated, or an error of another class, the slab must be freed and the
 * session forgotten.
 */
export class Session {
  #historyTokens = 0;
  #generatedTokens = 0;
  #liveBytes = 0;
  #activeAtS: number;
  #computing = false;
  readonly #turns: Turns;

  constructor(
    readonly id: string,
    /** The client's own words. */
    readonly label: string,
    readonly slab: SlabId,
    private readonly eosTokenIds: ReadonlySet<number>,
    private readonly host: SessionHost,
  ) {
    this.#turns = new Turns(host.maxWaitingCalls);
    this.#activeAtS = host.now();
  }

  get historyTokens(): number {
    return this.#historyTokens;
  }

  /** As counted from the slab's rows after its last change. */
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

  /** The engine has work for this session's slab: it must not be freed now. */
  get computing(): boolean {
    return this.#computing;
  }

  /** From now on every call, waiting ones too, finds the session gone. */
  end(): void {
    this.#turns.close(sessionNotFound(this.id));
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
      await this.#compute(() =>
        this.host.scheduler.prefill(this.slab, this.#historyTokens, tokenIds, (ran, state) => this.#commit(ran, state)),
      );
    }
    return this.#historyTokens;
  }

  async *generate({ maxTokens, sampling, signal, stop }: GenerateOptions): AsyncGenerator<GenerationEvent, void> {
    using _turn = await this.#turns.begin(signal);
    this.#touch();
    const startedAtS = this.host.now();
    await this.#recount();
    if (this.#historyTokens === 0) {
      throw new SessionError("invalid-argument", "the session has no history to continue: append tokens first");
    }
    const droppedTokens = this.#historyTokens - this.#cacheTokens;
    if (droppedTokens > 0) yield { kind: "truncated", droppedTokens };

    let stopReason: StopReason = "max-tokens";
    let generatedTokens = 0;
    let firstTokenS = 0;
    while (generatedTokens < maxTokens) {
      signal?.throwIfAborted();
      if (stop?.aborted) {
        stopReason = "cancelled";
        break;
      }
      const tokenId = await this.#step(sampling, signal);
      generatedTokens++;
      if (generatedTokens === 1) firstTokenS = this.host.now() - startedAtS;
      yield { kind: "token", tokenId };
      if (this.eosTokenIds.has(tokenId)) {
        stopReason = "eos";
        break;
      }
    }
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

  /** Has the slab count its rows anew, so that no call builds on a corrupt cache. */
  async #recount(): Promise<SlabState> {
    const state = await this.#compute(() => this.host.engine.state(this.slab));
    this.#commit(0, state);
    return state;
  }

  async #step(sampling: Sampling, signal: AbortSignal | undefined): Promise<number> {
    const { tokenId, state } = await this.#compute(() => this.host.scheduler.decode(this.slab, sampling, signal));
    this.#commit(1, state);
    this.#generatedTokens++;
    return tokenId;
  }

  /** A generation that rests between two steps may find its session evicted meanwhile. */
  async #compute<T>(work: () => Promise<T>): Promise<T> {
    if (this.#turns.closed !== undefined) throw this.#turns.closed;
    this.#computing = true;
    try {
      return await work();
    } finally {
      this.#computing = false;
    }
  }

  /** `ran` more tokens are cached: counts them, and checks that the slab counts the same. */
  #commit(ran: number, state: SlabState): void {
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
