import {
  type DeepPartial,
  type GenerateDone,
  GenerateDone_StopReason,
  type GenerateRequest,
  type RuntimeServiceClient,
} from "../gen/kakeya/v1/runtime.ts";
import type { Calls } from "./calls.ts";
import { Cancelled, SessionClosed } from "./errors.ts";
import { uint32, uint32s, uint64 } from "./unsigned.ts";

export type StopReason = "max-tokens" | "eos" | "cancelled" | "truncated";

export interface CallOptions {
  /** Aborting it cancels the call, which then throws Cancelled. */
  signal?: AbortSignal;
}

export interface ForkOptions extends CallOptions {
  /** Tokens of the history that the new session begins with; absent: all. */
  at?: number;
}

export interface GenerateOptions extends CallOptions {
  /** At least 1. */
  maxTokens: number;
  /** The same history, sampling and seed give the same ids. Absent: the server draws one. */
  seed?: bigint | number;
  /** 0 or absent: greedy. */
  temperature?: number;
  /** In (0, 1]; absent: 1. */
  topP?: number;
  /** 0 or absent: no limit. */
  topK?: number;
}

/** How a generation ended. */
export interface GenerateResult {
  stopReason: StopReason;
  generatedTokens: number;
  /** Server's time from the start of the call's turn to its first id, in seconds; NaN when the stream broke. */
  firstTokenS: number;
  /** Server's time from the start of the call's turn to its end, in seconds; NaN when the stream broke. */
  totalS: number;
  /** Tokens of the history that the cache no longer holds; 0 while it holds them all. */
  droppedTokens: number;
}

export interface SessionInfo {
  historyTokens: number;
  /** Bytes of the live key/value rows, counted by the server from its cache. */
  kvLiveBytes: number;
  /** Bytes the session's cache allocates, whatever its length. */
  kvSlabBytes: number;
  /** Every token the engine ever ran for this session. */
  computedTokens: number;
  generatedTokens: number;
  /** Tokens computed again to bring the session back into memory; not part of computedTokens. */
  replayedTokens: number;
  /** The session is not in memory; its next call brings it back. */
  parked: boolean;
  /** Guesses of the next ids that the server ran; computedTokens counts those that were right, no others. */
  draftedTokens: number;
  acceptedDrafts: number;
  inv1Violations: number;
  inv2Violations: number;
  /** Time since the last append or generation ended, in seconds. */
  idleS: number;
  /** Undefined: the history is empty, or the server does not keep that id any more. */
  lastTokenId: number | undefined;
}

/**
 * One session on a server. Its calls are served in the order in which they are made. Every method throws a subclass of
 * KakeyaError.
 */
export class Session {
  /** Whoever knows the id can use the session: treat it like a password. */
  readonly id: string;
  readonly #rpc: RuntimeServiceClient;
  readonly #calls: Calls;
  #lastResult: GenerateResult | undefined;
  #closed = false;

  /** @internal Use Client.createSession or Client.session. */
  constructor(rpc: RuntimeServiceClient, calls: Calls, id: string) {
    this.#rpc = rpc;
    this.#calls = calls;
    this.id = id;
  }

  /**
   * How the last generation ended, by itself or because it was cancelled; undefined before the first, and after an
   * error.
   */
  get lastResult(): GenerateResult | undefined {
    return this.#lastResult;
  }

  /** Appends ids to the history; returns its new length when they are computed. */
  async append(tokenIds: Iterable<number>, { signal }: CallOptions = {}): Promise<number> {
    const request = { sessionId: this.#openId(), tokenIds: uint32s("tokenIds", tokenIds) };
    const { historyLength } = await this.#calls.run(signal, (signal) => this.#rpc.appendTokens(request, { signal }));
    return Number(historyLength);
  }

  /**
   * Continues the history, id by id; each one is already part of it. Leaving the loop cancels the generation.
   * `lastResult` says how it ended.
   */
  async *generate({ signal, ...options }: GenerateOptions): AsyncGenerator<number, void> {
    const request = generateRequest(this.#openId(), options);
    let result: GenerateResult | undefined = {
      stopReason: "cancelled",
      generatedTokens: 0,
      firstTokenS: Number.NaN,
      totalS: Number.NaN,
      droppedTokens: 0,
    };
    try {
      for await (const { payload } of this.#calls.stream(signal, (signal) => this.#rpc.generate(request, { signal }))) {
        if (payload?.$case === "truncated") result.droppedTokens = Number(payload.value.droppedTokenCount);
        else if (payload?.$case === "done") result = { ...result, ...ended(payload.value) };
        else if (payload?.$case === "tokenId") {
          result.generatedTokens++;
          yield payload.value;
        }
      }
    } catch (error) {
      if (!(error instanceof Cancelled)) result = undefined;
      throw error;
    } finally {
      this.#lastResult = result;
    }
  }

  async info({ signal }: CallOptions = {}): Promise<SessionInfo> {
    const request = { sessionId: this.#openId() };
    const info = await this.#calls.run(signal, (signal) => this.#rpc.getSessionInfo(request, { signal }));
    return {
      historyTokens: Number(info.historyLength),
      kvLiveBytes: Number(info.kvLiveBytes),
      kvSlabBytes: Number(info.kvSlabBytes),
      computedTokens: Number(info.computedTokenTotal),
      draftedTokens: Number(info.draftedTokenTotal),
      acceptedDrafts: Number(info.acceptedDraftTotal),
      generatedTokens: Number(info.generatedTokenTotal),
      replayedTokens: Number(info.replayedTokenTotal),
      parked: info.parked,
      inv1Violations: Number(info.cacheInvariantInv1Violations),
      inv2Violations: Number(info.cacheInvariantInv2Violations),
      idleS: info.idleSeconds,
      lastTokenId: info.lastTokenId,
    };
  }

  /**
   * A new session with the same history, or its first `at` tokens, which then goes its own way. Only a server with
   * --state can fork at an earlier position than the end.
   */
  async fork({ at, signal }: ForkOptions = {}): Promise<Session> {
    const request = { sessionId: this.#openId(), ...(at === undefined ? {} : { at: uint64("at", at) }) };
    const { sessionId } = await this.#calls.run(signal, (signal) => this.#rpc.forkSession(request, { signal }));
    return new Session(this.#rpc, this.#calls, sessionId);
  }

  /** Ends the session on the server; returns the history's final length. */
  async close({ signal }: CallOptions = {}): Promise<number> {
    const request = { sessionId: this.#openId() };
    const { finalHistoryLength } = await this.#calls.run(signal, (signal) =>
      this.#rpc.closeSession(request, { signal }),
    );
    this.#closed = true;
    return Number(finalHistoryLength);
  }

  #openId(): string {
    if (this.#closed) throw new SessionClosed(`session ${this.id} was closed; create another one`);
    return this.id;
  }
}

function generateRequest(
  sessionId: string,
  { maxTokens, seed, temperature, topP, topK }: Omit<GenerateOptions, "signal">,
): DeepPartial<GenerateRequest> {
  return {
    sessionId,
    maxTokens: uint32("maxTokens", maxTokens),
    ...(seed === undefined ? {} : { seed: uint64("seed", seed) }),
    ...(temperature === undefined ? {} : { temperature }),
    ...(topP === undefined ? {} : { topP }),
    ...(topK === undefined ? {} : { topK: uint32("topK", topK) }),
  };
}

function ended(done: GenerateDone): Omit<GenerateResult, "droppedTokens"> {
  return {
    stopReason: stopReasonOf(done.stopReason),
    generatedTokens: done.generatedTokenCount,
    firstTokenS: done.prefillDurationSeconds,
    totalS: done.totalDurationSeconds,
  };
}

function stopReasonOf(reason: GenerateDone_StopReason): StopReason {
  switch (reason) {
    case GenerateDone_StopReason.STOP_REASON_MAX_TOKENS:
      return "max-tokens";
    case GenerateDone_StopReason.STOP_REASON_EOS:
      return "eos";
    case GenerateDone_StopReason.STOP_REASON_TRUNCATED:
      return "truncated";
    default:
      return "cancelled";
  }
}
