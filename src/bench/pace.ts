/** When turns are meant to begin. */

import type { Clock } from "./clock.ts";

/** A wait that is this much too long means that the machine, or this process, was stopped: nobody could have asked. */
const stoppedS = 5;

/**
 * Turn n is meant to begin at n x spacing, whether or not the turns before it are done, so that a stall of the
 * server is charged to every turn that waited behind it (the open loop of wrk2; G. Tene calls what a closed one
 * hides "coordinated omission"). Time in which the bench itself was stopped, say in a laptop that slept, moves the
 * schedule instead: the turns it missed were never asked.
 *
 * Without spacing a turn is meant to begin when the one before is done.
 */
export class Pace {
  #turn = 0;
  #movedS: number;

  /** @param fromS when the first turn is meant to begin */
  constructor(
    private readonly spacingS: number,
    private readonly clock: Clock,
    fromS = 0,
  ) {
    this.#movedS = fromS;
  }

  /** The intended start of the next turn; for a run without spacing, now. */
  get nextS(): number {
    return this.spacingS === 0 ? this.clock.nowS() : this.#turn * this.spacingS + this.#movedS;
  }

  /** Waits for the next turn's intended start; returns it, and the time now, which is no earlier. */
  async next(signal: AbortSignal): Promise<{ scheduledS: number; startedS: number }> {
    this.#movedS += stoppedFor(await waitUntil(this.nextS, this.clock, signal));
    const scheduledS = this.nextS;
    this.#turn++;
    return { scheduledS, startedS: this.spacingS === 0 ? scheduledS : Math.max(scheduledS, this.clock.nowS()) };
  }
}

function stoppedFor(lateS: number): number {
  return lateS > stoppedS ? lateS : 0;
}

/**
 * Waits until the clock shows `atS`, or the signal aborts. Returns how much later than that it woke; 0 when there was
 * nothing to wait for.
 */
export async function waitUntil(atS: number, clock: Clock, signal: AbortSignal): Promise<number> {
  let lateS = 0;
  for (let now = clock.nowS(); now < atS && !signal.aborted; now = clock.nowS()) {
    await clock.sleep(atS - now, signal);
    lateS = Math.max(0, clock.nowS() - atS);
  }
  return lateS;
}
