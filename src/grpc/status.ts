import { ServerError, type ServerMiddleware, Status } from "nice-grpc";
import { DeviceFailed, EngineCrashed } from "../engine/engine.ts";
import type { Log } from "../host/log.ts";
import { LogitsNotFinite, SessionError, type SessionErrorKind } from "../session/errors.ts";

const statusOfKind: Record<SessionErrorKind, Status> = {
  "not-found": Status.NOT_FOUND,
  "invalid-argument": Status.INVALID_ARGUMENT,
  "invariant-violated": Status.FAILED_PRECONDITION,
  "failed-precondition": Status.FAILED_PRECONDITION,
  "data-loss": Status.DATA_LOSS,
  "resource-exhausted": Status.RESOURCE_EXHAUSTED,
  "out-of-place": Status.ABORTED,
  "already-exists": Status.ALREADY_EXISTS,
  unavailable: Status.UNAVAILABLE,
};

/** Turns errors into gRPC statuses. An unforeseen error is INTERNAL, and its stack goes to the log only. */
export function statusMiddleware(log: Log): ServerMiddleware {
  return async function* errorsAsStatuses(call, context) {
    try {
      return yield* call.next(call.request, context);
    } catch (error) {
      if (error instanceof ServerError || (error instanceof Error && error.name === "AbortError")) throw error;
      if (error instanceof SessionError) throw new ServerError(statusOfKind[error.kind], error.message);
      if (error instanceof EngineCrashed) {
        throw new ServerError(
          error instanceof DeviceFailed ? Status.UNAVAILABLE : Status.INTERNAL,
          `${error.message}; its sessions are lost, but for those in a state folder`,
        );
      }
      if (error instanceof LogitsNotFinite) {
        log.error("call failed", { path: call.method.path, error: error.message });
        throw new ServerError(Status.INTERNAL, error.message);
      }
      log.error("call failed", {
        path: call.method.path,
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      });
      throw new ServerError(Status.INTERNAL, "internal error; the server's log says more");
    }
  };
}
