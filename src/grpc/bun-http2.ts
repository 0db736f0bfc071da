/**
 * What Bun's HTTP/2 server (1.4.5) lacks for gRPC, added around `http2.createServer`. It relies on Bun's internals, so
 * it lives in this one file; test/grpc/bun-http2.test.ts fails without it, and also once Bun no longer needs it.
 *
 * 1. One stream whose reader stalls (64 KB window full) parks the frames of all other streams of its connection until
 * the peer sends something (oven-sh/bun pull request 43422). While two streams or more are open and frames wait,
 * 'drain' on the raw socket makes Bun try again. 2. A peer's SETTINGS_HEADER_TABLE_SIZE=0 is ignored (oven-sh/bun issue
 * 19152), so nginx refuses the indexed headers of kept-alive upstream connections. Headers marked sensitive are never
 * indexed. 3. Bun cuts off (GOAWAY 11) a peer that cancels some hundred streams a second, which a busy client may do;
 * resets.ts decides what is too much.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import http2, { type Http2Server, type OutgoingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";

const drainEveryMs = 3;
const resetBurst = 20_000;
const resetsPerSecond = 5_000;

interface Connection {
  socket: Socket;
  openStreams: number;
}

/** A session as Bun's http2 makes it. */
export type Session = ServerHttp2Stream["session"] & object;
export type AnyHttp2Server = Http2Server | http2.Http2SecureServer;

const preparing = new AsyncLocalStorage<(server: AnyHttp2Server) => void>();

/** Runs `bind`, and gives each HTTP/2 server that it makes to `prepare`, because grpc-js exposes none. */
export function preparingServers<T>(prepare: (server: AnyHttp2Server) => void, bind: () => Promise<T>): Promise<T> {
  return preparing.run(prepare, bind);
}

let patched = false;

/** Patches this process's http2 module, once; without effect on other runtimes. */
export function patchBunHttp2(): void {
  if (patched || typeof Bun === "undefined") return;
  patched = true;
  const { createServer, createSecureServer } = http2;
  http2.createServer = ((options: http2.ServerOptions, ...rest: []) =>
    prepared(createServer({ ...options, ...resetLimits }, ...rest))) as typeof createServer;
  http2.createSecureServer = ((options: http2.SecureServerOptions, ...rest: []) =>
    prepared(createSecureServer({ ...options, ...resetLimits }, ...rest))) as typeof createSecureServer;
}

const resetLimits = { streamResetBurst: resetBurst, streamResetRate: resetsPerSecond };

function prepared<Server extends AnyHttp2Server>(server: Server): Server {
  const connections = new Map<Session, Connection>();
  let timer: NodeJS.Timeout | undefined;

  const unpark = () => {
    let crowded = false;
    for (const [session, { socket, openStreams }] of connections) {
      if (openStreams < 2) continue;
      crowded = true;
      if ((session.state.outboundQueueSize ?? 0) > 0) socket.emit("drain");
    }
    if (!crowded) {
      clearInterval(timer);
      timer = undefined;
    }
  };

  server.prependListener("session", (session: Session) => {
    const socket = rawSocketOf(session);
    if (socket === undefined) return;
    connections.set(session, { socket, openStreams: 0 });
    session.once("close", () => connections.delete(session));
  });
  server.prependListener("stream", (stream: ServerHttp2Stream) => {
    neverIndexHeaders(stream);
    const connection = stream.session && connections.get(stream.session);
    if (connection === undefined) return;
    connection.openStreams++;
    stream.once("close", () => connection.openStreams--);
    if (connection.openStreams > 1) timer ??= setInterval(unpark, drainEveryMs);
  });
  preparing.getStore()?.(server);
  return server;
}

/** Bun keeps the socket under a symbol of its own; Http2Session.socket is a proxy that refuses `emit`. */
export function rawSocketOf(session: Session): Socket | undefined {
  const symbol = Object.getOwnPropertySymbols(session).find((own) => String(own).includes("bunhttp2socket"));
  return symbol && Reflect.get(session, symbol);
}

function neverIndexHeaders(stream: ServerHttp2Stream): void {
  const respond = stream.respond;
  const sendTrailers = stream.sendTrailers;
  stream.respond = (headers, options) =>
    respond.call(stream, sensitive({ date: new Date().toUTCString(), ...headers } as OutgoingHttpHeaders), options);
  stream.sendTrailers = (headers) => sendTrailers.call(stream, sensitive({ ...headers }));
}

function sensitive(headers: OutgoingHttpHeaders): OutgoingHttpHeaders {
  const names = Object.keys(headers).filter((name) => !name.startsWith(":"));
  return Object.assign(headers, { [http2.sensitiveHeaders]: names });
}
