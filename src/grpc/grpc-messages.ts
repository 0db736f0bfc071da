import { setLogger } from "@grpc/grpc-js";
import type { Log } from "../host/log.ts";

/** An authorization header as JSON and as Bun print it, from its name to the end of its value. */
const authorization = /(authorization["']?\s*:\s*\[?\s*["'])[^"']*/gi;

/**
 * Sends grpc-js's messages through the log. Its errors concern one connection, and are known from the call's status.
 * With GRPC_TRACE it prints whole headers: the tokens in them are left out.
 */
export function logGrpcMessages(log: Log): void {
  const message = (...words: unknown[]) =>
    log.debug("grpc", { message: words.join(" ").replace(authorization, "$1(left out)") });
  setLogger({ error: message, info: message, debug: message });
}
