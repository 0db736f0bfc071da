/** The calls in flight, through whichever door they came. */
export interface Calls {
  /** Counts a call in, and returns what counts it out. Undefined once the server drains: turn the call away. */
  begin(): (() => void) | undefined;
  readonly inFlight: number;
  /** From now on no call begins; resolves when those in flight have ended. */
  drain(): Promise<void>;
}

export function trackCalls(): Calls {
  let inFlight = 0;
  let draining = false;
  let onIdle = () => {};
  const end = () => {
    inFlight--;
    if (inFlight === 0) onIdle();
  };
  return {
    begin() {
      if (draining) return undefined;
      inFlight++;
      return end;
    },
    get inFlight() {
      return inFlight;
    },
    async drain() {
      draining = true;
      if (inFlight === 0) return;
      await new Promise<void>((resolve) => {
        onIdle = resolve;
      });
    },
  };
}
