import { setTimeout as sleep } from "node:timers/promises";
import { ClientError, Status } from "nice-grpc";
import type { GenerateDone } from "../gen/kakeya/v1/runtime.ts";

const firstPauseMs = 50;
const longestPauseMs = 1000;

/** The server ended a generation that its caller had not cancelled: it is stopping, or needs the session's place. */
export class CutOff extends Error {
  override name = "CutOff";
  constructor(readonly done: GenerateDone) {
    super("the server ended the generation");
  }
}

/** What gRPC makes of a stream that the other side, often a proxy, broke off without a word (grpc-js, subchannel-call). */
const brokenOff = /^(Received RST_STREAM|Call cancelled$|Connection dropped|No status information received)/;

/** Whether the failure is of the way to the server, or of one server where another may answer. */
export function mayBeRepeated(error: unknown): boolean {
  if (error instanceof CutOff) return true;
  if (!(error instanceof ClientError)) return false;
  return error.code === Status.UNAVAILABLE || brokenOff.test(error.details);
}

/** How long the attempts at one call go on: until so much time has passed without any progress. */
export class Patience {
  #pauses = 0;
  #startedMs: number | undefined;

  constructor(private readonly limitS: number) {}

  /** There was progress. */
  renew(): void {
    this.#startedMs = undefined;
    this.#pauses = 0;
  }

  /** Waits before the next attempt, longer each time; false when there is to be none. */
  async pause(signal: AbortSignal): Promise<boolean> {
    const nowMs = performance.now();
    this.#startedMs ??= nowMs;
    if (nowMs - this.#startedMs >= this.limitS * 1000) return false;
    const pauseMs = Math.min(longestPauseMs, firstPauseMs * 2 ** this.#pauses++);
    // At random, so that the clients of a server that went away don't come to the next one all at once.
    await sleep(pauseMs * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => {});
    return !signal.aborted;
  }
}
