import { ClientError, Status } from "nice-grpc";

/**
 * A call that failed, or that the server answered with an error. There is a subclass for each thing that a
 * caller may want to do about it; `cause` is the gRPC error.
 */
export class KakeyaError extends Error {
  override name = "KakeyaError";
}

/** The session was never issued, or is closed or evicted: create another one. */
export class SessionNotFound extends KakeyaError {
  override name = "SessionNotFound";
}

/** The request is wrong; the message names the field and its value. */
export class InvalidArgument extends KakeyaError {
  override name = "InvalidArgument";
}

/** The session can't be used like this on this server; the message says how it can. */
export class FailedPrecondition extends KakeyaError {
  override name = "FailedPrecondition";
}

/** The server found the session's cache corrupt: create another session, unless the server keeps them (serve --state). */
export class InvariantViolation extends FailedPrecondition {
  override name = "InvariantViolation";
}

/** A limit was reached: all sessions busy, too many waiting calls, or a request too large. */
export class ResourceExhausted extends KakeyaError {
  override name = "ResourceExhausted";
}

/** The server wants a token, and this client's is missing or wrong. */
export class Unauthenticated extends KakeyaError {
  override name = "Unauthenticated";
}

/** The server can't be reached, or is shutting down. */
export class Unavailable extends KakeyaError {
  override name = "Unavailable";
}

/** The call was cancelled, by its AbortSignal or by the server. */
export class Cancelled extends KakeyaError {
  override name = "Cancelled";
}

/** This Session object was closed by its own `close()`. */
export class SessionClosed extends KakeyaError {
  override name = "SessionClosed";
}

const classOfStatus: Partial<Record<Status, typeof KakeyaError>> = {
  [Status.NOT_FOUND]: SessionNotFound,
  [Status.INVALID_ARGUMENT]: InvalidArgument,
  [Status.FAILED_PRECONDITION]: FailedPrecondition,
  [Status.RESOURCE_EXHAUSTED]: ResourceExhausted,
  [Status.UNAUTHENTICATED]: Unauthenticated,
  [Status.UNAVAILABLE]: Unavailable,
  [Status.CANCELLED]: Cancelled,
};

/** The KakeyaError for what a gRPC call threw. */
export function typedError(error: unknown): unknown {
  if (error instanceof ClientError) {
    const isViolation = error.code === Status.FAILED_PRECONDITION && /^INV-\d violated/.test(error.details);
    const TypedError = isViolation ? InvariantViolation : (classOfStatus[error.code] ?? KakeyaError);
    const method = error.path.slice(error.path.lastIndexOf("/") + 1);
    return new TypedError(`${method}: ${error.details || Status[error.code]}`, { cause: error });
  }
  if (error instanceof Error && error.name === "AbortError") {
    return new Cancelled("the call's AbortSignal was aborted", { cause: error });
  }
  return error;
}
