/** Client for kakeya servers, for Bun and Node.js 20 or later. */
export { Client, type ClientOptions, type CreateSessionOptions, type RuntimeInfo } from "./client.ts";
export type { TlsOptions } from "./connect.ts";
export {
  Cancelled,
  FailedPrecondition,
  InvalidArgument,
  InvariantViolation,
  KakeyaError,
  ResourceExhausted,
  SessionClosed,
  SessionNotFound,
  Unauthenticated,
  Unavailable,
} from "./errors.ts";
export {
  type CallOptions,
  type ForkOptions,
  type GenerateOptions,
  type GenerateResult,
  Session,
  type SessionInfo,
  type StopReason,
} from "./session.ts";
