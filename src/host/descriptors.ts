import { readdirSync, readFileSync } from "node:fs";

/** For what the process opens while it runs: files of models and states, pipes, and connections that are closing. */
const kept = 16;

/**
 * How many connections the process has descriptors for; undefined where the system doesn't tell (only Linux does).
 * Without a free descriptor the runtime can't accept a connection. It gets no error, and tries again at once, for ever.
 */
export function descriptorsForConnections(): number | undefined {
  try {
    const [, limit] = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
    if (limit === undefined) return undefined;
    return Math.max(1, Number(limit) - readdirSync("/proc/self/fd").length - kept);
  } catch {
    return undefined;
  }
}
