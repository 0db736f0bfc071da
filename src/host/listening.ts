import { UsageError } from "../cli/exit.ts";
import { addressOf, type Bind, isLocal, parseBind, parseTcpBind, type TcpBind } from "./bind.ts";
import type { ServerOptions } from "./options.ts";
import { readTls, type TlsSettings } from "./tls.ts";
import { removeStaleSocket, requireSocketPath } from "./unix-socket.ts";

/** Where to listen, and with which certificates. */
export interface Listening {
  bind: Bind;
  /** For the HTTP door; undefined: none. */
  http: TcpBind | undefined;
  tls: TlsSettings | undefined;
}

/** @throws UsageError for a bad address or one that lets other machines in without a token, Error for a bad PEM file. */
export async function checkListening(options: ServerOptions): Promise<Listening> {
  const bind = parseBind(options.bind);
  const http = options.http && parseTcpBind("--http", options.http.bind);
  requireTokenBeyondThisMachine(`--bind ${options.bind}`, bind, options);
  if (options.http && http) requireTokenBeyondThisMachine(`--http ${options.http.bind}`, http, options);
  if (bind.kind === "unix") await requireSocketPath(bind.path);
  return { bind, http, tls: options.tls && (await readTls(options.tls)) };
}

function requireTokenBeyondThisMachine(flag: string, bind: Bind, { token }: ServerOptions): void {
  if (isLocal(bind) || token) return;
  throw new UsageError(`${flag} lets other machines in: set a token (--token-file or KAKEYA_TOKEN), or bind 127.0.0.1`);
}

/**
 * Binds with `bindTo`, which gets the address as gRPC writes it and returns the port. Returns the address as clients
 * dial it. @throws Error with the reason when it can't.
 */
export async function listen(bind: Bind, bindTo: (address: string) => Promise<number>): Promise<string> {
  const address = addressOf(bind);
  const bound = () =>
    bindTo(address).catch((error: Error) => {
      throw new Error(`--bind ${address}: ${reasonOf(error)}`);
    });
  if (bind.kind === "tcp") return addressOf({ ...bind, port: await bound() });

  await removeStaleSocket(bind.path);
  // From the socket's first moment on, no other user may connect.
  const umask = process.umask(0o177);
  await bound().finally(() => process.umask(umask));
  return address;
}

/** Why it can't listen, without the words that gRPC adds. */
export function reasonOf({ message }: Error): string {
  const reason = /errors: \[(.*)\]$/.exec(message)?.[1] ?? message;
  return /EADDRINUSE|in use/.test(reason) ? `${reason}; choose another, or port 0 for any free one` : reason;
}
