import { randomBytes } from "node:crypto";

/** Nobody can guess it: whoever knows a session's id can use the session. */
export function newSessionId(): string {
  return randomBytes(24).toString("base64url");
}

/** Whether it could be one of `newSessionId`: a client that chooses an id has to choose as well. */
export function isSessionId(id: string): boolean {
  return /^[A-Za-z0-9_-]{32}$/.test(id);
}

/** What a log calls a session: too little of its id to use the session. */
export function shownSessionId(id: string): string {
  return id.slice(0, 8);
}
