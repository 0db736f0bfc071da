import type { ServerCredentials } from "@grpc/grpc-js";
import { type Bind, isLocal, parseBind } from "./bind.ts";
import type { ServerOptions } from "./options.ts";
import { serverCredentials } from "./tls.ts";

/**
 * Where to listen, and with which certificates.
 *
 * @throws Error for a bad address, a bad PEM file, or a server that other machines could use without a token.
 */
export async function checkListening(options: ServerOptions): Promise<{ bind: Bind; credentials: ServerCredentials }> {
  const bind = parseBind(options.bind);
  if (!isLocal(bind) && !options.token) {
    throw new Error(
      `--bind ${options.bind} lets other machines in: set a token (--token, --token-file or KAKEYA_TOKEN), or bind 127.0.0.1`,
    );
  }
  return { bind, credentials: await serverCredentials(options.tls) };
}
