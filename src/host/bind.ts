import { isIP } from "node:net";
import { UsageError } from "../cli/exit.ts";

/** Where a server listens. */
export type Bind = TcpBind | { kind: "unix"; path: string };

export interface TcpBind {
  kind: "tcp";
  host: string;
  port: number;
}

/** Reads host:port or [ipv6]:port. @throws UsageError that names the flag and says what is wrong with it. */
export function parseTcpBind(flag: string, text: string): TcpBind {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  if (host !== undefined && port <= 65535) return { kind: "tcp", host, port };
  const orUnix = flag === "--bind" ? ", [ipv6]:port or unix:/path" : " or [ipv6]:port";
  throw new UsageError(`${flag} ${text}: expected host:port (port 0 to 65535)${orUnix}`);
}

/** Reads host:port, [ipv6]:port or unix:/path. @throws UsageError that says what is wrong with it. */
export function parseBind(text: string): Bind {
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length);
    if (!path.startsWith("/")) throw new UsageError(`--bind ${text}: a unix socket needs an absolute path, unix:/path`);
    return { kind: "unix", path };
  }
  return parseTcpBind("--bind", text);
}

/** As gRPC and clients write it. */
export function addressOf(bind: Bind): string {
  if (bind.kind === "unix") return `unix:${bind.path}`;
  return isIP(bind.host) === 6 ? `[${bind.host}]:${bind.port}` : `${bind.host}:${bind.port}`;
}

/** Whether only this machine can reach it. */
export function isLocal(bind: Bind): boolean {
  if (bind.kind === "unix") return true;
  return bind.host === "localhost" || bind.host === "::1" || (isIP(bind.host) === 4 && bind.host.startsWith("127."));
}
