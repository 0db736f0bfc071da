import { ServerError, type ServerMiddleware, Status } from "nice-grpc";
import type { Log } from "../host/log.ts";
import { shownSessionId } from "../session/session-id.ts";

/** Logs every call. It belongs outside the middleware that turns errors into statuses. */
export function observingMiddleware(log: Log, now: () => number): ServerMiddleware {
  return async function* observe(call, context) {
    const startedAtS = now();
    let code = Status.OK;
    let session = sessionIn(call.request);
    try {
      const response = yield* call.next(call.request, context);
      session ??= sessionIn(response);
      return response;
    } catch (error) {
      code = error instanceof ServerError ? error.code : Status.UNKNOWN;
      throw error;
    } finally {
      if (context.signal.aborted) code = Status.CANCELLED;
      const method = call.method.path.slice(call.method.path.lastIndexOf("/") + 1);
      log.debug("call", { method, session, code: Status[code], duration_s: now() - startedAtS, peer: context.peer });
    }
  };
}

/** What the log calls the session that a message is about; undefined when it is about none. */
function sessionIn(message: unknown): string | undefined {
  if (typeof message !== "object" || message === null || !("sessionId" in message)) return undefined;
  return typeof message.sessionId === "string" ? shownSessionId(message.sessionId) : undefined;
}
