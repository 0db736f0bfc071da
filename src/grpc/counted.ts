import { ServerError, type ServerMiddleware, Status } from "nice-grpc";
import type { Calls } from "../host/calls.ts";

/** Counts calls as in flight, and turns new ones away once the server drains. */
export function countedMiddleware(calls: Calls): ServerMiddleware {
  return async function* counted(call, context) {
    const end = calls.begin();
    if (end === undefined) throw new ServerError(Status.UNAVAILABLE, "the server is shutting down");
    try {
      return yield* call.next(call.request, context);
    } finally {
      end();
    }
  };
}
