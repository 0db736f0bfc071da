import { ServerError, type ServerMiddleware, Status } from "nice-grpc";
import { EngineCrashed } from "../engine/engine.ts";
import { SessionError, type SessionErrorKind } from "../session/errors.ts";

const statusOfKind: Record<SessionErrorKind, Status> = {
  "not-found": Status.NOT_FOUND,
  "invalid-argument": Status.INVALID_ARGUMENT,
  "invariant-violated": Status.FAILED_PRECONDITION,
  "resource-exhausted": Status.RESOURCE_EXHAUSTED,
};

/** Says a session's errors as gRPC statuses. */
export const statusMiddleware: ServerMiddleware = async function* (call, context) {
  try {
    return yield* call.next(call.request, context);
  } catch (error) {
    if (error instanceof SessionError) throw new ServerError(statusOfKind[error.kind], error.message);
    if (error instanceof EngineCrashed) throw new ServerError(Status.INTERNAL, `${error.message}; the session is lost`);
    throw error;
  }
};
