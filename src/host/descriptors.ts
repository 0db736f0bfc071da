import { readdirSync, readFileSync } from "node:fs";
import type { Log } from "./log.ts";
import { seldom } from "./seldom.ts";

/** For what the process opens while it runs: files of models and states, pipes, and connections that are closing. */
const kept = 16;

/**
 * How many connections the process has descriptors for; undefined where the system doesn't tell (only Linux does).
 * Without a free descriptor the runtime can't accept a connection. It gets no error, and tries again at once, for ever.
 */
export function descriptorsForConnections(): number | undefined {
  const free = freeDescriptors();
  return free === undefined ? undefined : Math.max(1, free - kept);
}

/** Reports when next to none is left, which the bound of connections can't tell. Returns what ends the watch. */
export function watchDescriptors(log: Log, now: () => number): () => void {
  const short = seldom("file descriptors have run out: new connections wait; see ulimit -n", { write: log.warn, now });
  const timer = setInterval(() => {
    const free = freeDescriptors();
    if (free !== undefined && free < kept / 4) short({ free });
  }, 1000);
  timer.unref();
  return () => clearInterval(timer);
}

function freeDescriptors(): number | undefined {
  try {
    const [, limit] = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
    return limit === undefined ? undefined : Number(limit) - readdirSync("/proc/self/fd").length;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EMFILE" ? 0 : undefined;
  }
}
