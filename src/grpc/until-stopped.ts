import { ServerError, type ServerMiddleware, Status } from "nice-grpc";

/** Ends streams that would never end by themselves, such as a health watch, when `stop` aborts. */
export function untilStopped(stop: AbortSignal): ServerMiddleware {
  return async function* endWhenStopped(call, context) {
    const signal = AbortSignal.any([context.signal, stop]);
    try {
      return yield* call.next(call.request, { ...context, signal });
    } catch (error) {
      if (stop.aborted) throw new ServerError(Status.UNAVAILABLE, "the server is shutting down");
      throw error;
    }
  };
}
