import { readFileSync } from "node:fs";

/** A call as a server's log has it, at its end. */
export interface Served {
  atMs: number;
  server: string;
  session: string;
}

export interface Routing {
  calls: number;
  sessions: number;
  /** Calls that came to another server than the session's call before. */
  misses: number;
  callsOfServer: Record<string, number>;
}

const methods = new Set(["CreateSession", "AppendTokens", "Generate", "GetSessionInfo", "CloseSession"]);

/** The servers' calls in their order, by their own logs (`--log-level debug --log-format json`). */
export function servedBy(servers: readonly { name: string; logPath: string }[]): Served[] {
  const served = servers.flatMap(({ name, logPath }) => callsIn(readFileSync(logPath, "utf8"), name));
  return served.sort((a, b) => a.atMs - b.atMs);
}

/** The server of each session's last call before a moment. */
export function serverOfEach(served: readonly Served[], beforeMs: number): Map<string, string> {
  const last = new Map<string, string>();
  for (const { atMs, server, session } of served) if (atMs < beforeMs) last.set(session, server);
  return last;
}

/** Where each session's calls came. */
export function routingOf(served: readonly Served[]): Routing {
  const last = new Map<string, string>();
  const callsOfServer: Record<string, number> = {};
  let misses = 0;
  for (const { server, session } of served) {
    callsOfServer[server] = (callsOfServer[server] ?? 0) + 1;
    if ((last.get(session) ?? server) !== server) misses++;
    last.set(session, server);
  }
  return { calls: served.length, sessions: last.size, misses, callsOfServer };
}

function callsIn(log: string, server: string): Served[] {
  return log.split("\n").flatMap((line): Served[] => {
    if (!line.startsWith("{")) return [];
    const { message, method, session, time } = JSON.parse(line);
    if (message !== "call" || !methods.has(method) || typeof session !== "string") return [];
    return [{ atMs: Date.parse(time), server, session }];
  });
}
