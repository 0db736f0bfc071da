/** One turn against a server, with every number that the report keeps of it. */

import type { Client, Session, StopReason } from "../client/index.ts";
import type { OkTurnV2 } from "../report/report.ts";
import type { Clock } from "./clock.ts";

/** What a turn itself knows; when it began and what was said is its caller's. */
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
}

/** The server ended the generation although nobody cancelled it. */
export class AnswerCut extends Error {
  override name = "AnswerCut";
}

/** The address is served by another model than when the run began. */
export class ModelChanged extends Error {
  override name = "ModelChanged";
}

/** Appends, generates and asks what it cost. Throws what the client throws, AnswerCut or ModelChanged. */
export async function measureTurn(request: TurnRequest): Promise<{ turn: MeasuredTurn; answerIds: number[] }> {
  const { client, clock, signal, startedS } = request;
  const session = await request.openSession();
  const appendStartedS = clock.nowS();
  await session.append([...request.historyIds, ...Array.from(request.messageIds)], { signal });
  const appendedS = clock.nowS();

  const answerIds: number[] = [];
  const gaps = new Gaps();
  for await (const id of session.generate({ maxTokens: request.maxTokens, signal })) {
    gaps.add(clock.nowS());
    answerIds.push(id);
  }
  const endedS = clock.nowS();
  const stopReason = session.lastResult?.stopReason ?? "cancelled";
  if (stopReason === "cancelled") {
    throw new AnswerCut(`the server ended the answer after ${answerIds.length} tokens`);
  }

  const info = await session.info({ signal });
  const { modelFingerprint, residentBytes } = await client.runtimeInfo({ signal });
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
    n_emitted: answerIds.length,
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
  };
  return { turn, answerIds };
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
