/** One session, turn after turn. */

import {
  type Client,
  InvariantViolation,
  type RuntimeInfo,
  type Session,
  SessionClosed,
  SessionNotFound,
} from "../client/index.ts";
import type { ConfigV2, ResumePoint, TurnV2 } from "../report/report.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Clock } from "./clock.ts";
import type { Kills } from "./kills.ts";
import { type PreviousAnswer, promptText, type TemplateName } from "./template.ts";
import { measureTurn } from "./turn.ts";
import type { Workload } from "./workload.ts";

export interface WalkOptions {
  client: Client;
  /** Those of the server when the run began. */
  info: Pick<RuntimeInfo, "modelFingerprint">;
  tokenizer: Tokenizer;
  clock: Clock;
  workload: Workload;
  template: TemplateName;
  /** "reprefill": every turn opens a new session and appends the whole history again. */
  control: ConfigV2["control"];
  eosTokenIds: readonly number[];
  maxTokens: number;
  /** Longest time a turn may take; then it is cancelled and counts as failed. */
  turnTimeoutS: number;
  /** What the run goes on with, after so many turns. */
  resumed?: { turns: number; point: ResumePoint | undefined };
  /** The index of a session that is opened; absent: this walk opens all of them. */
  newSessionIndex?: () => number;
  /** Where the server is killed during the run. */
  kills?: Pick<Kills, "onId" | "recovered">;
}

/** A turn took longer than allowed. */
export class TurnTimeout extends Error {
  override name = "TurnTimeout";
}

export class Walk {
  readonly #options: WalkOptions;
  #session: Session | undefined;
  #sessionsOpened = 0;
  #sessionIndex = 0;
  #turns: number;
  /** Until the first turn. */
  #isResumed: boolean;
  #historyTokens = 0;
  #previous: PreviousAnswer = "none";
  #answerIds: readonly number[] = [];
  /** Of the negative control only: the walk itself never needs the history. */
  #history: number[] = [];

  constructor(options: WalkOptions) {
    this.#options = options;
    const { turns = 0, point } = options.resumed ?? {};
    this.#turns = turns;
    this.#isResumed = options.resumed !== undefined;
    if (point === undefined) return;
    this.#session = options.client.session(point.session_id);
    this.#sessionsOpened = point.sessions_opened;
    this.#sessionIndex = Math.max(0, this.#sessionsOpened - 1);
    // Whatever the crash has left in the session is closed first.
    this.#previous = "cut";
  }

  /** What another walk would need to go on in the same session. */
  get resumePoint(): ResumePoint | undefined {
    return this.#session && { session_id: this.#session.id, sessions_opened: this.#sessionsOpened };
  }

  /** The last answer's ids, its end token included. */
  get lastAnswerIds(): readonly number[] {
    return this.#answerIds;
  }

  /**
   * Runs the next turn. A failure is recorded, not thrown; the session is given up only when the server has lost
   * it. Undefined when `signal` aborted: such a turn was neither answered nor failed.
   */
  async turn(at: { scheduledS: number; startedS: number }, signal: AbortSignal): Promise<TurnV2 | undefined> {
    const { messages } = this.#options.workload;
    const resumed = this.#isResumed ? { resumed: true as const } : {};
    this.#isResumed = false;
    const place = { message_index: this.#turns++ % messages.length, scheduled_s: at.scheduledS, ...resumed };
    const message = messages[place.message_index] ?? "";
    using limit = new TimeLimit(this.#options.turnTimeoutS, signal);
    try {
      const turn = await this.#measure(message, at.startedS, limit.signal);
      return { ok: true, ...place, session_index: this.#sessionIndex, t_relative_s: at.startedS, ...turn };
    } catch (error) {
      if (signal.aborted) return undefined;
      if (isSessionLost(error)) this.#session = undefined;
      // Whatever the failed turn left in the session is closed first; the control's history has none of it.
      if (this.#options.control === "none") this.#previous = this.#session === undefined ? "none" : "cut";
      const { error_class, error_str } = describe(limit.expired ?? error);
      const when = { ...place, session_index: this.#sessionIndex, t_relative_s: at.startedS };
      return { ok: false, ...when, error_class, error_str };
    }
  }

  /** Ends the session on the server, if one is open; a server that can't be reached evicts it later. */
  async close(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    await session?.close({ signal: AbortSignal.timeout(1000) }).catch(() => undefined);
  }

  async #measure(message: string, startedS: number, signal: AbortSignal) {
    const { client, clock, control, info, kills, maxTokens, template, tokenizer } = this.#options;
    const messageIds = tokenizer.encode(promptText(template, message, this.#previous));
    const { turn, answerIds } = await measureTurn({
      client,
      openSession: () => this.#openSession(signal),
      historyIds: this.#history,
      messageIds,
      maxTokens,
      modelFingerprint: info.modelFingerprint,
      startedS,
      clock,
      signal,
      eosTokenIds: this.#options.eosTokenIds,
      historyBefore: this.#historyTokens,
      ...(kills && { onId: () => kills.onId(), recovered: () => kills.recovered() }),
    });
    this.#historyTokens = turn.history_length;
    if (control === "reprefill") {
      this.#history.push(...messageIds, ...answerIds);
      await this.close();
    }
    this.#answerIds = answerIds;
    this.#previous = turn.stop_reason === "EOS" ? "ended" : "cut";
    return turn;
  }

  async #openSession(signal: AbortSignal): Promise<Session> {
    if (this.#session === undefined) {
      const { client, eosTokenIds, newSessionIndex } = this.#options;
      this.#session = await client.createSession({ eosTokenIds, label: "kakeya bench", signal });
      this.#sessionIndex = newSessionIndex?.() ?? this.#sessionsOpened;
      this.#sessionsOpened++;
      this.#historyTokens = 0;
    }
    return this.#session;
  }
}

/** Aborts its signal when the time is up or `outer` aborts; leaves nothing behind on `outer` when disposed. */
class TimeLimit {
  readonly #controller = new AbortController();
  readonly #end: () => void;
  expired: TurnTimeout | undefined;

  constructor(seconds: number, outer: AbortSignal) {
    const timer = setTimeout(() => {
      this.expired = new TurnTimeout(`the turn was not done after ${seconds} s`);
      this.#controller.abort();
    }, seconds * 1000);
    const stop = () => this.#controller.abort();
    outer.addEventListener("abort", stop);
    this.#end = () => {
      clearTimeout(timer);
      outer.removeEventListener("abort", stop);
    };
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    this.#end();
  }
}

function isSessionLost(error: unknown): boolean {
  return error instanceof SessionNotFound || error instanceof InvariantViolation || error instanceof SessionClosed;
}

function describe(error: unknown): { error_class: string; error_str: string } {
  if (error instanceof Error) return { error_class: error.name, error_str: error.message };
  return { error_class: "Unknown", error_str: String(error) };
}
