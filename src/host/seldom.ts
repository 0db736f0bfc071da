import type { LogFields } from "./log.ts";

export interface SeldomOptions {
  /** Writes the line. */
  write: (message: string, fields: LogFields) => void;
  /** Monotonic clock, in seconds. */
  now: () => number;
  /** Seconds between two lines. */
  everyS?: number;
}

/**
 * Logs what others can cause as often as they like: the first time at once, then at most one line a minute. Its field
 * `unlogged` counts those since the line before.
 */
export function seldom(message: string, { write, now, everyS = 60 }: SeldomOptions): (fields?: LogFields) => void {
  let lastS = Number.NEGATIVE_INFINITY;
  let unlogged = 0;
  return (fields = {}) => {
    if (now() - lastS < everyS) {
      unlogged++;
      return;
    }
    lastS = now();
    write(message, unlogged === 0 ? fields : { ...fields, unlogged });
    unlogged = 0;
  };
}
