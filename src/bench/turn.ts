/** One turn against a server, with every number that the report keeps of it. */

import { type Client, type Session, type SessionInfo, type StopReason, Unavailable } from "../client/index.ts";
import type { OkTurnV2 } from "../report/report.ts";
import type { Clock } from "./clock.ts";

/** What a turn itself measures; its caller knows when it began and what was said. */
export type MeasuredTurn = Omit<OkTurnV2, "ok" | "t_relative_s" | "session_index" | "message_index" | "scheduled_s">;

export interface TurnRequest {
  client: Client;
  /** Opens or hands over the session; what that takes is part of the turn. */
  openSession: () => Promise<Session>;
  /** Appended before the message: nothing, or the whole history for the negative control. */
  historyIds: readonly number[];
  messageIds: ArrayLike<number>;
  maxTokens: number;
  /** Of the model that the run measures. */
  modelFingerprint: string;
  startedS: number;
  clock: Clock;
  signal: AbortSignal;
  eosTokenIds: readonly number[];
  /** Tokens of the session before the turn; for `recovered`. */
  historyBefore: number;
  /** Called with each id of the answer. */
  onId?: () => void;
  /**
   * Called after a call failed: tells whether the turn can go on where the session stands. Resolves when the server is
   * back.
   */
  recovered?: () => Promise<boolean>;
}

/** The server ended the generation, though nobody cancelled it. */
export class AnswerCut extends Error {
  override name = "AnswerCut";
}

/** The server at the address has another model than when the run began. */
export class ModelChanged extends Error {
  override name = "ModelChanged";
}

/** Appends, generates and asks what it cost. Throws what the client throws, AnswerCut or ModelChanged. */
export async function measureTurn(request: TurnRequest): Promise<{ turn: MeasuredTurn; answerIds: number[] }> {
  const { client, clock, signal, startedS } = request;
  const session = await request.openSession();
  const prompt = [...request.historyIds, ...Array.from(request.messageIds)];
  const appendStartedS = clock.nowS();
  let appendedS = appendStartedS;
  const answerIds: number[] = [];
  /** How much of the turn is in the history, whether it was seen or not. */
  let done = 0;
  let stopReason: StopReason | undefined;
  const gaps = new Gaps();
  while (stopReason === undefined) {
    try {
      if (done < prompt.length) {
        await session.append(prompt, { signal });
        appendedS = clock.nowS();
        done = prompt.length;
      }
      for await (const id of session.generate({ maxTokens: prompt.length + request.maxTokens - done, signal })) {
        gaps.add(clock.nowS());
        answerIds.push(id);
        done++;
        request.onId?.();
      }
      stopReason = session.lastResult?.stopReason ?? "cancelled";
    } catch (error) {
      if (!(await request.recovered?.())) throw error;
      const { historyTokens } = await untilReached(() => session.info({ signal }), signal);
      done = historyTokens - request.historyBefore;
      // The answer may be complete, and only its `done` lost.
      if (done - prompt.length === request.maxTokens) stopReason = "max-tokens";
      else if (endsWith(answerIds, request.eosTokenIds, done - prompt.length)) stopReason = "eos";
    }
  }
  const endedS = clock.nowS();
  const emitted = done - prompt.length;
  if (stopReason === "cancelled") {
    throw new AnswerCut(`the server ended the answer after ${emitted} tokens`);
  }

  const info = await asked(request, () => infoInMemory(session, signal));
  const { modelFingerprint, residentBytes } = await asked(request, () => client.runtimeInfo({ signal }));
  if (modelFingerprint !== request.modelFingerprint) {
    throw new ModelChanged(
      `the server's model is ${modelFingerprint} now, ${request.modelFingerprint} when the run began`,
    );
  }
  const turn: MeasuredTurn = {
    latency_s: endedS - startedS,
    append_s: appendedS - appendStartedS,
    ttft_s: gaps.firstS === null ? null : gaps.firstS - startedS,
    tpot_s: gaps.meanS,
    itl_max_s: gaps.longestS,
    n_emitted: emitted,
    user_message_tokens: request.messageIds.length,
    stop_reason: reportedStopReason(stopReason),
    history_length: info.historyTokens,
    computed_token_total: info.computedTokens,
    drafted_token_total: info.draftedTokens,
    accepted_draft_total: info.acceptedDrafts,
    kv_live_bytes: info.kvLiveBytes,
    kv_slab_bytes: info.kvSlabBytes,
    server_rss_bytes: residentBytes,
    inv1: info.inv1Violations,
    inv2: info.inv2Violations,
    ...(session.server === undefined ? {} : { server: session.server }),
  };
  return { turn, answerIds };
}

/** Whether the answer's last id ends it, and was seen. */
function endsWith(seen: readonly number[], eosTokenIds: readonly number[], emitted: number): boolean {
  return seen.length === emitted && eosTokenIds.includes(seen.at(-1) ?? -1);
}

/** What the session holds in memory: one that is not there, since its server was killed just now, is brought back. */
export async function infoInMemory(session: Session, signal: AbortSignal): Promise<SessionInfo> {
  const info = await session.info({ signal });
  if (!info.parked) return info;
  await session.append([], { signal });
  return await session.info({ signal });
}

/** Asks again if the server was killed meanwhile and is back. */
async function asked<T>({ recovered, signal }: TurnRequest, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (!(await recovered?.())) throw error;
    return await untilReached(call, signal);
  }
}

/** The connection to a server that has only just come back may take some attempts. */
async function untilReached<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof Unavailable) || signal.aborted) throw error;
      await Bun.sleep(100);
    }
  }
}

/** The gaps between the ids of one answer, without keeping their times. */
class Gaps {
  #count = 0;
  #firstS = 0;
  #lastS = 0;
  #longestS = 0;

  add(nowS: number): void {
    if (this.#count++ === 0) this.#firstS = nowS;
    else this.#longestS = Math.max(this.#longestS, nowS - this.#lastS);
    this.#lastS = nowS;
  }

  /** When the first id came. */
  get firstS(): number | null {
    return this.#count === 0 ? null : this.#firstS;
  }

  get meanS(): number | null {
    return this.#count < 2 ? null : (this.#lastS - this.#firstS) / (this.#count - 1);
  }

  get longestS(): number | null {
    return this.#count < 2 ? null : this.#longestS;
  }
}

/** As the wire names it. */
function reportedStopReason(reason: StopReason): string {
  return reason.toUpperCase().replaceAll("-", "_");
}
