import type { Clock } from "../../src/bench/clock.ts";

/** A clock that stands still but for what is slept, and what a test adds. */
export class HeldClock implements Clock {
  #nowS = 0;
  /** Added to the next sleeps, one each: a machine that was stopped wakes late. */
  readonly oversleepsS: number[] = [];
  /** The time of day, which may jump. */
  dayS = 1_800_000_000;

  nowS = (): number => this.#nowS;
  unixS = (): number => this.dayS;

  async sleep(seconds: number): Promise<void> {
    this.advance(seconds + (this.oversleepsS.shift() ?? 0));
  }

  advance(seconds: number): void {
    this.#nowS += seconds;
  }
}
