import type { Log } from "./log.ts";

/** Sends the runtime's own warnings through the log: by default they are plain lines on stderr, whatever the format. */
export function logProcessWarnings(log: Log): void {
  process.removeAllListeners("warning");
  process.on("warning", ({ name, message }) => log.warn("runtime warning", { name, reason: message }));
}
