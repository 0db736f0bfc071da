import type { Engine, GenerateRequest, Sampling, SequenceId, SequenceState } from "../engine/engine.ts";
import type { JournalEntry, Lease } from "../state/store.ts";
import {
  InvariantViolated,
  LogitsNotFinite,
  outOfPlace,
  SessionError,
  SessionLeft,
  sessionNotFound,
} from "./errors.ts";
import { IdStream } from "./id-stream.ts";
import { violationOf } from "./invariants.ts";
import { Turns } from "./turns.ts";

export type StopReason = "max-tokens" | "eos" | "cancelled";

/** What a generation gives, in this order: at most one `truncated`, then ids, then one `done`. */
export type GenerationEvent =
  | { kind: "truncated"; droppedTokens: number }
  | { kind: "token"; tokenId: number }
  | { kind: "done"; stopReason: StopReason; generatedTokens: number; firstTokenS: number; totalS: number };

/** Where a call continues the history. */
export interface Placed {
  /** Length of the history before the call. Absent: as it is. */
  at?: number;
  /** What the history has after `at` is from an earlier attempt at the call: it is told again, and not done again. */
  resume?: boolean;
}

export interface GenerateOptions extends Placed {
  maxTokens: number;
  sampling: Sampling;
  /** The caller went away: the generation throws the signal's reason. */
  signal?: AbortSignal;
  /** The server is shutting down: the generation ends with `done` "cancelled". */
  stop?: AbortSignal;
  /**
   * Steps that the engine may run before their ids are read, so that it never waits for the reader's network. With 0,
   * the history holds only what was read: after a reader stops, its last id is the history's last.
   */
  ahead?: number;
}

export interface SessionInfo {
  /** It is not in memory: its next call brings it back. */
  parked: boolean;
  historyTokens: number;
  /** Counted from the cache's rows. */
  liveBytes: number;
  slabBytes: number;
  computedTokens: number;
  generatedTokens: number;
  /** Ids that were computed again to bring it back. */
  replayedTokens: number;
  /** Guesses that the engine ran since the session came into memory, and those of them that were right. */
  draftedTokens: number;
  acceptedDrafts: number;
  /** Time since a call began or a token was cached, in seconds. */
  idleS: number;
  /** Undefined: the history is empty, or the id is not kept any more. */
  lastTokenId: number | undefined;
}

/** Where a session writes its ids down before anybody sees them. */
export interface SessionRecord {
  readonly lease: Lease;
  write(entry: JournalEntry): Promise<void>;
  /** Those written at positions [from, to). */
  ids(from: number, to: number): Promise<Uint32Array>;
  /** Called after ids were written, when a snapshot may be due. */
  written(session: Session): void;
  /** Called with the time that an append took to compute. */
  measured(tokens: number, durationS: number): void;
}

/** What a session begins with, or continues with when it comes back into memory. */
export interface SessionStart {
  id: string;
  /** The client's own words. */
  label: string;
  sequence: SequenceId;
  eosTokenIds: readonly number[];
  /** Absent: ids are written nowhere. */
  record?: SessionRecord;
  /** Absent: an empty history. */
  history?: SessionHistory;
  /** A call is on its way to the session; until it arrives, the session is not idle. */
  expected?: boolean;
  /** Its owner can compute it again at any time. */
  isRebuildable?: boolean;
}

export interface SessionHistory {
  tokens: number;
  generatedTokens: number;
  replayedTokens: number;
  lastTokenId: number | undefined;
  /** As the engine now counts the sequence's tokens, replayed ones included. */
  state: SequenceState;
}

/** What a session needs of the place it lives in. */
export interface SessionHost {
  readonly engine: Engine;
  /** Monotonic clock, in seconds. */
  readonly now: () => number;
  /** Calls that may wait for one session. */
  readonly maxWaitingCalls: number;
  /** Called when a session has no call in flight any more. */
  readonly onIdle: () => void;
  /** Called after each step: guesses that it ran, and those that were right. */
  readonly onGuesses: (drafted: number, accepted: number) => void;
}

/**
 * One client's stream of tokens: counts its history, and owns the sequence of the engine that caches it. It keeps no
 * ids but the last: nothing in it grows.
 *
 * Calls throw SessionError when they are refused. After InvariantViolated, or an error of another class, the sequence
 * must be freed and the session forgotten.
 */
export class Session {
  #historyTokens = 0;
  #generatedTokens = 0;
  #draftedTokens = 0;
  #acceptedDrafts = 0;
  #lastTokenId: number | undefined;
  #liveBytes = 0;
  #activeAtS: number;
  #computing = false;
  /** The ids of the generation under way. */
  #stream: IdStream | undefined;
  /** Why the cache holds ids that were not written: nothing may follow them. */
  #notRecorded: unknown;
  readonly #turns: Turns;
  readonly #record: SessionRecord | undefined;
  readonly #replayedTokens: number;
  /** What the engine counts beyond the tokens of this session's own calls. */
  readonly #notOwnTokens: number;

  constructor(
    private readonly start: SessionStart,
    private readonly host: SessionHost,
  ) {
    const { record, history, expected } = start;
    this.#turns = new Turns(host.maxWaitingCalls, host.onIdle, expected);
    this.#activeAtS = host.now();
    this.#record = record;
    this.#historyTokens = history?.tokens ?? 0;
    this.#generatedTokens = history?.generatedTokens ?? 0;
    this.#replayedTokens = history?.replayedTokens ?? 0;
    this.#lastTokenId = history?.lastTokenId;
    this.#liveBytes = history?.state.liveBytes ?? 0;
    // Each id of a history was computed once by the calls that brought it; what came again since is replay.
    this.#notOwnTokens = history === undefined ? 0 : history.state.computedTokens - history.tokens;
  }

  get id(): string {
    return this.start.id;
  }

  get label(): string {
    return this.start.label;
  }

  get isRebuildable(): boolean {
    return this.start.isRebuildable === true;
  }

  get sequence(): SequenceId {
    return this.start.sequence;
  }

  get eosTokenIds(): readonly number[] {
    return this.start.eosTokenIds;
  }

  get lease(): Lease | undefined {
    return this.#record?.lease;
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

  /** From now on all calls, waiting ones too, fail: the session is gone. */
  end(): void {
    this.#turns.close(sessionNotFound(this.id));
    void this.#stream?.stop();
  }

  /** It leaves memory: calls that are on their way to it throw SessionLeft. Resolves when nothing more is computed. */
  async leave(): Promise<void> {
    this.#turns.close(new SessionLeft());
    await this.#stream?.stop();
  }

  /**
   * Appends ids (all below the vocabulary's size) and computes them; returns the history's length. Once its turn has
   * come, it runs to its end, whatever `signal` says.
   */
  async append(tokenIds: Uint32Array, signal?: AbortSignal, { at, resume }: Placed = {}): Promise<number> {
    using _turn = await this.#turns.begin(signal);
    this.#touch();
    await this.#recount();
    const isThere = at !== undefined && at !== this.#historyTokens;
    if (isThere && !(resume && (await this.#endsWith(at, tokenIds)))) throw outOfPlace(at, this.#historyTokens);
    if (tokenIds.length > 0 && !isThere) {
      const startedAtS = this.host.now();
      const state = await this.#compute(() => this.host.engine.append(this.sequence, tokenIds));
      this.#record?.measured(tokenIds.length, this.host.now() - startedAtS);
      const position = this.#historyTokens;
      this.#commit(tokenIds.length, state);
      this.#lastTokenId = tokenIds.at(-1);
      await this.#written(position, tokenIds, 0);
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

    const earlier = await this.#saidBefore(options);
    for (const tokenId of earlier) yield { kind: "token", tokenId };
    let generatedTokens = earlier.length;
    let firstTokenS = earlier.length === 0 ? 0 : this.host.now() - startedAtS;
    const ended = this.#endOf(earlier, maxTokens);
    if (ended !== undefined) {
      yield { kind: "done", stopReason: ended, generatedTokens, firstTokenS, totalS: this.host.now() - startedAtS };
      return;
    }
    const moreTokens = maxTokens - earlier.length;
    const request = { maxTokens: moreTokens, sampling, eosTokenIds: this.eosTokenIds, oneByOne: ahead === 0 };
    const stream = this.#open(request, ahead);
    using _stopped = onAbort([signal, stop], () => void stream.stop());
    try {
      for await (const tokenId of stream) {
        // Its reader may have paused so long that the session was evicted meanwhile.
        this.#throwIfGone();
        generatedTokens++;
        if (generatedTokens === 1) firstTokenS = this.host.now() - startedAtS;
        yield { kind: "token", tokenId };
      }
    } finally {
      // Ids that were run are part of the history, whether they were read or not.
      await stream.stop();
      this.#stream = undefined;
    }
    signal?.throwIfAborted();
    this.#throwIfGone();
    const stopReason = stream.reason === "stopped" ? "cancelled" : (stream.reason ?? "cancelled");
    yield { kind: "done", stopReason, generatedTokens, firstTokenS, totalS: this.host.now() - startedAtS };
  }

  /** Asking is not activity: it neither resets the idle time nor saves the session from eviction. */
  async info(signal?: AbortSignal): Promise<SessionInfo> {
    using _turn = await this.#turns.begin(signal);
    const state = await this.#recount();
    return {
      parked: false,
      historyTokens: this.#historyTokens,
      liveBytes: state.liveBytes,
      slabBytes: this.host.engine.info.kvSlabBytes,
      computedTokens: state.computedTokens - this.#notOwnTokens,
      generatedTokens: this.#generatedTokens,
      replayedTokens: this.#replayedTokens,
      draftedTokens: this.#draftedTokens,
      acceptedDrafts: this.#acceptedDrafts,
      idleS: this.host.now() - this.#activeAtS,
      lastTokenId: this.#lastTokenId,
    };
  }

  /** Does `work` with what a copy of the session would begin with, after all calls that came before. */
  async history<T>(work: (history: SessionHistory) => Promise<T>, signal?: AbortSignal): Promise<T> {
    using _turn = await this.#turns.begin(signal);
    const state = await this.#recount();
    const own = { tokens: this.#historyTokens, lastTokenId: this.#lastTokenId };
    return await work({ ...own, generatedTokens: 0, replayedTokens: 0, state });
  }

  /** Ends the session after all calls that came before; returns the history's length. */
  async close(signal?: AbortSignal): Promise<number> {
    using _turn = await this.#turns.begin(signal);
    this.end();
    return this.#historyTokens;
  }

  /** A session that has only left memory ends its generation with `done`: its ids are kept. */
  #throwIfGone(): void {
    const { closed } = this.#turns;
    if (closed !== undefined && !(closed instanceof SessionLeft)) throw closed;
  }

  /** Whether the history ends with these ids, after its first `at`. */
  async #endsWith(at: number, tokenIds: Uint32Array): Promise<boolean> {
    if (this.#record === undefined || at + tokenIds.length !== this.#historyTokens) return false;
    const there = await this.#record.ids(at, this.#historyTokens);
    return there.every((id, i) => id === tokenIds[i]);
  }

  /** What an earlier attempt at the same answer has said. */
  async #saidBefore({ at, resume, maxTokens }: GenerateOptions): Promise<Uint32Array> {
    const said = this.#historyTokens - (at ?? this.#historyTokens);
    if (at === undefined || said === 0) return new Uint32Array();
    const isKept = this.#record !== undefined && resume === true && said > 0 && said <= maxTokens;
    const ids = isKept ? await this.#record?.ids(at, this.#historyTokens) : undefined;
    // What comes after the end of an answer is something else.
    if (ids?.subarray(0, -1).some((id) => this.eosTokenIds.includes(id)) !== false) {
      throw outOfPlace(at, this.#historyTokens);
    }
    return ids;
  }

  /** Why an answer that has said all this is over; undefined: it is not. */
  #endOf(said: Uint32Array, maxTokens: number): StopReason | undefined {
    const last = said.at(-1);
    if (last !== undefined && this.eosTokenIds.includes(last)) return "eos";
    return said.length === maxTokens ? "max-tokens" : undefined;
  }

  get #cacheTokens(): number {
    return this.host.engine.info.sink + this.host.engine.info.window;
  }

  /** Counts the cache's rows again, so that no call builds on a corrupt cache. */
  async #recount(): Promise<SequenceState> {
    if (this.#notRecorded !== undefined) throw this.#notRecorded;
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
      ({ tokenIds, drafted, state }) => {
        const position = this.#historyTokens;
        this.#commit(tokenIds.length, state);
        this.#generatedTokens += tokenIds.length;
        this.#draftedTokens += drafted;
        this.#acceptedDrafts += tokenIds.length - 1;
        this.host.onGuesses(drafted, tokenIds.length - 1);
        this.#lastTokenId = tokenIds.at(-1) ?? this.#lastTokenId;
        return this.#written(position, Uint32Array.from(tokenIds), tokenIds.length);
      },
      ahead,
    );
    return this.#stream;
  }

  /** Undefined where nothing is written. */
  #written(position: number, ids: Uint32Array, generated: number): Promise<void> | undefined {
    const record = this.#record;
    return record?.write({ lease: record.lease, position, ids, generated }).then(
      () => record.written(this),
      (error: unknown) => {
        this.#notRecorded ??= error;
        throw error;
      },
    );
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
    if (violation !== undefined) throw new InvariantViolated(violation, this.#record !== undefined);
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
