import { DeviceFailed, EngineCrashed } from "../engine/engine.ts";
import type { Log } from "../host/log.ts";
import { LogitsNotFinite, SessionError } from "../session/errors.ts";
import { TemplateError } from "../text/template-error.ts";

interface ApiErrorFields {
  status: number;
  /** The field that is wrong, as a path: `messages[0].content`. */
  param?: string;
  code?: string;
  headers?: Record<string, string>;
}

/** What a client is told when its request fails, in OpenAI's shape. */
export class ApiError extends Error {
  override name = "ApiError";
  readonly status: number;
  readonly param: string | null;
  readonly code: string | null;
  readonly headers: Record<string, string>;

  constructor(message: string, { status, param, code, headers = {} }: ApiErrorFields) {
    super(message);
    this.status = status;
    this.param = param ?? null;
    this.code = code ?? null;
    this.headers = headers;
  }

  get body() {
    const { message, param, code, status } = this;
    const type = status === 429 ? "rate_limit_error" : status >= 500 ? "server_error" : "invalid_request_error";
    return { error: { message, type, param, code } };
  }

  toResponse(): Response {
    return Response.json(this.body, { status: this.status, headers: this.headers });
  }
}

/** A 400 that names the field. */
export function invalid(param: string, message: string, code = "invalid_value"): ApiError {
  return new ApiError(message, { status: 400, param, code });
}

/** A 400 for what OpenAI has and kakeya lacks: ignoring it silently would change the answer. */
export function unsupported(param: string, why: string): ApiError {
  return new ApiError(`'${param}' is not supported: ${why}`, { status: 400, param, code: "unsupported_parameter" });
}

/** A 404 for what never existed, or is not kept any more. */
export function notFound(what: string, id: string): ApiError {
  return new ApiError(`${what} with id '${id.slice(0, 80)}' not found.`, { status: 404, code: "not_found" });
}

export const shuttingDown = () => new ApiError("the server is shutting down", { status: 503, code: "unavailable" });

/** An unforeseen error is a 500, whose stack goes to the log only. */
export function apiErrorOf(error: unknown, log: Log): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof TemplateError) return new ApiError(error.message, { status: 400, code: "invalid_messages" });
  if (error instanceof SessionError) return ofSession(error);
  if (error instanceof EngineCrashed || error instanceof LogitsNotFinite) {
    log.error("request failed", { error: error.message });
    const status = error instanceof DeviceFailed ? 503 : 500;
    return new ApiError(error.message, { status, code: "engine_failed" });
  }
  log.error("request failed", { error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  return new ApiError("internal error; the server's log says more", { status: 500, code: "internal_error" });
}

function ofSession({ kind, message }: SessionError): ApiError {
  switch (kind) {
    case "invalid-argument":
      return new ApiError(message, { status: 400, code: "invalid_value" });
    case "resource-exhausted":
      return new ApiError(message, { status: 429, code: "no_free_session", headers: { "retry-after": "1" } });
    case "unavailable":
      return new ApiError(message, { status: 503, code: "unavailable", headers: { "retry-after": "1" } });
    default:
      return new ApiError(message, { status: 500, code: "session_lost" });
  }
}
