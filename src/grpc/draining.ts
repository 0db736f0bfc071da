/** How calls end when the server stops: those in flight are waited for, and no new one begins. */

import { ServerError, type ServerMiddleware, Status } from "nice-grpc";
import type { Calls } from "../host/calls.ts";

/** Counts calls as in flight, and turns new ones away once the server drains. */
export function countedMiddleware(calls: Calls): ServerMiddleware {
  return async function* counted(call, context) {
    const end = calls.begin();
    if (end === undefined) {
      // gRPC's own way to say that the call was not begun and may be made again at once, elsewhere.
      context.trailer.set("grpc-retry-pushback-ms", "0");
      throw shuttingDown();
    }
    try {
      return yield* call.next(call.request, context);
    } finally {
      end();
    }
  };
}

/** Ends streams that would never end by themselves, such as a health watch, when `stop` aborts. */
export function untilStopped(stop: AbortSignal): ServerMiddleware {
  return async function* endWhenStopped(call, context) {
    const signal = AbortSignal.any([context.signal, stop]);
    try {
      return yield* call.next(call.request, { ...context, signal });
    } catch (error) {
      if (stop.aborted) throw shuttingDown();
      throw error;
    }
  };
}

function shuttingDown(): ServerError {
  return new ServerError(Status.UNAVAILABLE, "the server is shutting down");
}
