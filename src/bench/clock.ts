/** A run's clock, passed in so that a test can stop it. */

export interface Clock {
  /** Seconds since the clock was made; never steps back, whatever is done to the time of day. */
  nowS(): number;
  /** The time of day, Unix seconds. */
  unixS(): number;
  /** Resolves after about `seconds`, or at once when the signal aborts. */
  sleep(seconds: number, signal: AbortSignal): Promise<void>;
}

/** Timers take at most 2^31 - 1 ms; a sleeper that wakes early looks at the clock and sleeps again. */
const longestSleepS = 60;

export function systemClock(): Clock {
  const start = performance.now();
  return {
    nowS: () => (performance.now() - start) / 1000,
    unixS: () => Date.now() / 1000,
    sleep: (seconds, signal) => sleep(Math.min(seconds, longestSleepS), signal),
  };
}

function sleep(seconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, seconds * 1000);
    signal.addEventListener("abort", end);
  });
}
