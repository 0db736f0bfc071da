import { ServerError, type ServerMiddleware, Status } from "nice-grpc";

/** The calls in flight. */
export interface Calls {
  /** Counts each call, and turns new ones away once the server drains. */
  middleware: ServerMiddleware;
  readonly inFlight: number;
  /** From now on new calls are UNAVAILABLE; resolves when those in flight have ended. */
  drain(): Promise<void>;
}

export function trackCalls(): Calls {
  let inFlight = 0;
  let draining = false;
  let onIdle = () => {};
  return {
    async *middleware(call, context) {
      if (draining) throw new ServerError(Status.UNAVAILABLE, "the server is shutting down");
      inFlight++;
      try {
        return yield* call.next(call.request, context);
      } finally {
        inFlight--;
        if (inFlight === 0) onIdle();
      }
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
