import { ClientError, Status } from "nice-grpc";
import {
  type DeepPartial,
  type GenerateDone,
  GenerateDone_StopReason,
  type GenerateRequest,
  type RuntimeServiceClient,
} from "../gen/kakeya/v1/runtime.ts";
import type { Attempt, Calls, CallTo } from "./calls.ts";
import { Cancelled, SessionClosed } from "./errors.ts";
import { type Place, Position } from "./position.ts";
import { CutOff } from "./retries.ts";
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
  /** The same history, sampling and seed give the same ids. Absent: one is drawn. */
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
  readonly #position: Position;
  #lastResult: GenerateResult | undefined;
  #server: string | undefined;
  #closed = false;

  /** @internal Use Client.createSession or Client.session. `tokens`: length of its history, if that is known. */
  constructor(rpc: RuntimeServiceClient, calls: Calls, id: string, tokens?: number) {
    this.#rpc = rpc;
    this.#calls = calls;
    this.#position = new Position(tokens);
    this.id = id;
  }

  /**
   * How the last generation ended, by itself or because it was cancelled; undefined before the first, and after an
   * error.
   */
  get lastResult(): GenerateResult | undefined {
    return this.#lastResult;
  }

  /** Which of several servers answered last; undefined where they have no names (serve --server-name). */
  get server(): string | undefined {
    return this.#server;
  }

  /** Appends ids to the history; returns its new length when they are computed. */
  async append(tokenIds: Iterable<number>, { signal }: CallOptions = {}): Promise<number> {
    const request = { sessionId: this.#openId(), tokenIds: uint32s("tokenIds", tokenIds) };
    const place = this.#position.begin();
    let historyTokens: number | undefined;
    try {
      const { historyLength } = await this.#calls.run(signal, this.#to(place), (attempt) =>
        placed(place, attempt, (at) =>
          this.#rpc.appendTokens({ ...request, ...at, resume: attempt.mayHaveRun }, attempt),
        ),
      );
      historyTokens = Number(historyLength);
      return historyTokens;
    } finally {
      place.end(historyTokens);
    }
  }

  /**
   * Continues the history, id by id; each one is already part of it. Leaving the loop cancels the generation.
   * `lastResult` says how it ended.
   */
  async *generate({ signal, ...options }: GenerateOptions): AsyncGenerator<number, void> {
    const request = generateRequest(this.#openId(), options);
    const place = this.#position.begin();
    let historyTokens: number | undefined;
    let cutOff: CutOff | undefined;
    const onCutOff = (error: CutOff) => {
      cutOff = error;
    };
    let result: GenerateResult | undefined = {
      stopReason: "cancelled",
      generatedTokens: 0,
      firstTokenS: Number.NaN,
      totalS: Number.NaN,
      droppedTokens: 0,
    };
    try {
      const open = (attempt: Attempt) =>
        this.#answer(request, { place, attempt, seen: result?.generatedTokens ?? 0, onCutOff });
      for await (const { payload } of this.#calls.stream(signal, this.#to(place), open)) {
        if (payload?.$case === "truncated") result.droppedTokens = Number(payload.value.droppedTokenCount);
        else if (payload?.$case === "done") result = { ...result, ...ended(payload.value) };
        else if (payload?.$case === "tokenId") {
          result.generatedTokens++;
          yield payload.value;
        }
      }
      if (place.at !== undefined) historyTokens = place.at + result.generatedTokens;
    } catch (error) {
      // Where nobody goes on with an answer that a server ended, that is how it ended.
      if (cutOff !== undefined && result !== undefined && !(error instanceof Cancelled)) {
        result = { ...result, ...ended(cutOff.done), generatedTokens: result.generatedTokens };
        return;
      }
      if (!(error instanceof Cancelled)) result = undefined;
      throw error;
    } finally {
      this.#lastResult = result;
      place.end(historyTokens);
    }
  }

  async info({ signal }: CallOptions = {}): Promise<SessionInfo> {
    const request = { sessionId: this.#openId() };
    const info = await this.#calls.run(signal, this.#to(), (attempt) => this.#rpc.getSessionInfo(request, attempt));
    this.#position.learn(Number(info.historyLength));
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
    const tokens = at ?? this.#position.tokens;
    // At worst a copy is left that nobody knows; its server ends it as any idle session.
    const { sessionId } = await this.#calls.run(signal, this.#to(), (attempt) =>
      this.#rpc.forkSession(request, attempt),
    );
    return new Session(this.#rpc, this.#calls, sessionId, tokens);
  }

  /** Ends the session on the server; returns the history's final length. */
  async close({ signal }: CallOptions = {}): Promise<number> {
    const request = { sessionId: this.#openId() };
    const { tokens } = this.#position;
    const { finalHistoryLength } = await this.#calls.run(signal, this.#to(), async (attempt) => {
      try {
        return await this.#rpc.closeSession(request, attempt);
      } catch (error) {
        const isDone = attempt.mayHaveRun && hasStatus(error, Status.NOT_FOUND) && tokens !== undefined;
        if (!isDone) throw error;
        return { finalHistoryLength: tokens };
      }
    });
    this.#closed = true;
    return Number(finalHistoryLength);
  }

  /** A call that may be made again; with a place, only where that is known. */
  #to(place?: Place): CallTo {
    const onServer = (name: string) => {
      this.#server = name;
    };
    return { sessionId: this.id, onServer, isRepeatable: () => place === undefined || place.at !== undefined };
  }

  /** One attempt at an answer, without the ids of it that were seen before. */
  async *#answer(request: DeepPartial<GenerateRequest>, { place, attempt, seen, onCutOff }: AnswerAttempt) {
    let ids = 0;
    const call = (at: { at?: bigint }) =>
      this.#rpc.generate({ ...request, ...at, resume: attempt.mayHaveRun || seen > 0 }, attempt);
    for await (const message of placedStream(place, attempt, call)) {
      const { payload } = message;
      if (payload?.$case === "tokenId" && ids++ < seen) continue;
      if (payload?.$case === "done" && isCutOff(payload.value) && !attempt.signal.aborted && place.at !== undefined) {
        const error = new CutOff(payload.value);
        onCutOff(error);
        throw error;
      }
      yield message;
    }
  }

  #openId(): string {
    if (this.#closed) throw new SessionClosed(`session ${this.id} was closed; create another one`);
    return this.id;
  }
}

interface AnswerAttempt {
  place: Place;
  attempt: Attempt;
  /** Ids of the answer that came with earlier attempts. */
  seen: number;
  onCutOff: (error: CutOff) => void;
}

/**
 * A call that says where it continues the history. If that is not where the history ends, others have continued it, and
 * the call is made without a place.
 */
async function* placedStream<T>(
  place: Place,
  { mayHaveRun }: Attempt,
  call: (at: { at?: bigint }) => AsyncIterable<T>,
): AsyncGenerator<T, void> {
  try {
    yield* call(place.at === undefined ? {} : { at: BigInt(place.at) });
  } catch (error) {
    if (mayHaveRun || place.at === undefined || !hasStatus(error, Status.ABORTED)) throw error;
    place.at = undefined;
    yield* call({});
  }
}

async function placed<T>(place: Place, attempt: Attempt, call: (at: { at?: bigint }) => Promise<T>): Promise<T> {
  const one = async function* (at: { at?: bigint }) {
    yield await call(at);
  };
  for await (const answer of placedStream(place, attempt, one)) return answer;
  throw new Cancelled("the call ended without an answer");
}

function hasStatus(error: unknown, status: Status): boolean {
  return error instanceof ClientError && error.code === status;
}

function isCutOff({ stopReason }: GenerateDone): boolean {
  return stopReason === GenerateDone_StopReason.STOP_REASON_CANCELLED;
}

function generateRequest(
  sessionId: string,
  { maxTokens, seed, temperature, topP, topK }: Omit<GenerateOptions, "signal">,
): DeepPartial<GenerateRequest> {
  return {
    sessionId,
    maxTokens: uint32("maxTokens", maxTokens),
    // Drawn here, so that every attempt at the call has the same.
    seed: seed === undefined ? crypto.getRandomValues(new BigUint64Array(1))[0] : uint64("seed", seed),
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
