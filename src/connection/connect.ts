/** A server that answers: one that runs already, or one that is started for this command and stopped with it. */

import { resolveModel } from "../checkpoint/resolve.ts";
import { windowWarning } from "../checkpoint/window-advice.ts";
import { say } from "../cli/output.ts";
import { oneLine } from "../cli/plain-text.ts";
import { Client, type ClientOptions, type RuntimeInfo, Unauthenticated } from "../client/index.ts";
import { type Connection, clientOptions } from "./flags.ts";
import { OwnServer, type OwnServerOptions } from "./own-server.ts";

export interface Connected extends AsyncDisposable {
  address: string;
  /** If it was started here. */
  server: OwnServer | undefined;
  client: Client;
  /** Another connection, as any client's: its calls are made again where that is safe. */
  another(): Client;
  /** At its first answer. */
  info: RuntimeInfo;
}

export interface OwnServerChoice extends OwnServerOptions {
  /** Directory or Hugging Face id that it serves; absent: the embedded model. */
  model: string | undefined;
}

/**
 * @param own what to start when the connection has no address
 * @throws when no server answers; then nothing is left running
 */
export async function connect(connection: Connection, own: OwnServerChoice): Promise<Connected> {
  await using opened = new AsyncDisposableStack();
  const server = connection.address === undefined ? opened.use(await OwnServer.start(own)) : undefined;
  const address = connection.address ?? server?.address ?? "";
  const access = await clientOptions(connection);
  // Whoever measures a server, or started it, wants to hear of its failures.
  const client = opened.use(new Client(address, { retryS: 0, ...access }));
  const info = await firstAnswer(client, address, connection.connectTimeoutS).catch((cause: unknown) => {
    throw new Error(unreachable(address, access, cause), { cause });
  });
  const warning =
    server === undefined ? undefined : windowWarning(resolveModel(own.model, process.env).dir, info.window);
  if (warning !== undefined) say(oneLine(`warning: ${warning}`));
  const parts = opened.move();
  const another = () => parts.use(new Client(address, access));
  return { address, server, client, another, info, [Symbol.asyncDispose]: () => parts.disposeAsync() };
}

async function firstAnswer(client: Client, address: string, timeoutS: number): Promise<RuntimeInfo> {
  const signal = AbortSignal.timeout(Math.min(timeoutS * 1000, 2 ** 31 - 1));
  try {
    return await client.runtimeInfo({ signal });
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new Error(`${address} accepted the connection, but did not answer within ${timeoutS} s`);
  }
}

/** Why there is no server to talk to, and what to do. */
function unreachable(address: string, { tls, token }: ClientOptions, cause: unknown): string {
  if (cause instanceof Unauthenticated) {
    return token === undefined
      ? `the server at ${address} asks for its token: give it with --token-file, --token or KAKEYA_TOKEN`
      : `the server at ${address} refused the token that it was sent: it has a different one`;
  }
  const why = cause instanceof Error ? cause.message : cause;
  const advice = 'start one with "kakeya serve", or leave out --address';
  const secure = tls === undefined ? "; a server with TLS is reached with --tls-ca" : "";
  return `no kakeya server answers at ${address}: ${why}; ${advice}${secure}`;
}
