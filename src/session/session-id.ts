import { randomBytes } from "node:crypto";

/** Unguessable: who knows it can use the session. */
export function newSessionId(): string {
  return randomBytes(24).toString("base64url");
}
