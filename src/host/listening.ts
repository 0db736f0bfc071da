import { UsageError } from "../cli/exit.ts";
import { addressOf, type Bind, isLocal, parseBind } from "./bind.ts";
import type { ServerOptions } from "./options.ts";
import { readTls, type TlsSettings } from "./tls.ts";
import { removeStaleSocket, requireSocketPath } from "./unix-socket.ts";

/** Where to listen, and with which certificates. */
export interface Listening {
  bind: Bind;
  tls: TlsSettings | undefined;
}

/** @throws UsageError for a bad address or one that lets other machines in without a token, Error for a bad PEM file. */
export async function checkListening(options: ServerOptions): Promise<Listening> {
  const bind = parseBind(options.bind);
  if (!isLocal(bind) && !options.token) {
    throw new UsageError(
      `--bind ${options.bind} lets other machines in: set a token (--token-file or KAKEYA_TOKEN), or bind 127.0.0.1`,
    );
  }
  if (bind.kind === "unix") await requireSocketPath(bind.path);
  return { bind, tls: options.tls && (await readTls(options.tls)) };
}

/**
 * Binds with `bindTo`, which is given the address as gRPC writes it and answers with the port, and answers with the
 * address as clients dial it. @throws Error with the reason when it can't.
 */
export async function listen(bind: Bind, bindTo: (address: string) => Promise<number>): Promise<string> {
  const address = addressOf(bind);
  const bound = () =>
    bindTo(address).catch((error: Error) => {
      throw new Error(`--bind ${address}: ${reasonOf(error)}`);
    });
  if (bind.kind === "tcp") return addressOf({ ...bind, port: await bound() });

  await removeStaleSocket(bind.path);
  // No other user may connect, from the socket's first moment on.
  const umask = process.umask(0o177);
  await bound().finally(() => process.umask(umask));
  return address;
}

/** Without gRPC's words around it. */
function reasonOf({ message }: Error): string {
  const reason = /errors: \[(.*)\]$/.exec(message)?.[1] ?? message;
  return reason.includes("EADDRINUSE") ? `${reason}; choose another, or port 0 for any free one` : reason;
}
