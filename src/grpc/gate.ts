/**
 * What a call passes before grpc-js sees it: as soon as its headers are there, and before any of its message is read.
 * Without it, a caller without the token could still fill the memory with messages and the processor with calls.
 */
import type { EventEmitter } from "node:events";
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { Status } from "nice-grpc";
import { type Access, accessDenied } from "../host/access.ts";
import type { Connections } from "../host/connections.ts";
import type { Log, LogFields } from "../host/log.ts";
import type { Metrics } from "../host/metrics.ts";
import { seldom } from "../host/seldom.ts";
import { type AnyHttp2Server, rawSocketOf, type Session } from "./bun-http2.ts";
import type { CallMetrics } from "./call-metrics.ts";
import { boundedTimeout } from "./deadline.ts";
import { methodLabels, needsToken } from "./methods.ts";
import { ResetLimit } from "./resets.ts";
import { Turnstile } from "./turnstile.ts";
import { UnfinishedRequests } from "./unfinished-requests.ts";
import { whenAnswered } from "./when-answered.ts";

export interface GateParts {
  access: Access;
  connections: Connections;
  calls: CallMetrics;
  metrics: Pick<Metrics, "gauge">;
  log: Log;
  /** Bytes of one request. */
  maxRequestBytes: number;
  /** Monotonic clock, in seconds. */
  now: () => number;
}

type StreamListener = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, ...rest: unknown[]) => void;

/** One gate serves all addresses of a door. */
export class Gate {
  readonly #turnstile = new Turnstile();
  readonly #resets: ResetLimit;
  readonly #unfinished: UnfinishedRequests;
  readonly #denied: (fields: LogFields) => void;
  readonly #handshakeFailed: (fields: LogFields) => void;

  constructor(private readonly parts: GateParts) {
    const warnSeldom = (message: string) => seldom(message, { write: parts.log.warn, now: parts.now });
    this.#denied = warnSeldom("call refused");
    this.#handshakeFailed = warnSeldom("TLS handshake failed");
    const cut = warnSeldom("connection ended: it reset too many calls");
    this.#resets = new ResetLimit(parts.now, (session) => cut({ peer: peerOf(session) }));

    const givenUp = warnSeldom("request given up: too many bytes of unfinished requests");
    const limits = { perConnectionBytes: 8 * parts.maxRequestBytes, totalBytes: 16 * parts.maxRequestBytes };
    const unfinished = new UnfinishedRequests(limits, (stream) => {
      givenUp({ peer: peerOf(stream.session) });
      refuse(stream, Status.RESOURCE_EXHAUSTED, "too many bytes of unfinished requests; send fewer at once");
    });
    this.#unfinished = unfinished;
    const help = "Bytes of requests that have not arrived in full";
    parts.metrics.gauge("unfinished_request_bytes", help, () => unfinished.bytes);
  }

  /** Comes before everyone who listens for the server's streams from now on. */
  install(server: AnyHttp2Server): void {
    const { connections } = this.parts;
    connections.guard(server);
    server.prependListener("session", (session: Session) => {
      const socket = rawSocketOf(session);
      if (socket !== undefined) session.once("close", () => connections.endSoon(socket));
    });
    server.on("tlsClientError", (error: NodeJS.ErrnoException, socket: { remoteAddress?: string }) =>
      this.#handshakeFailed({ reason: error.code ?? error.message, peer: socket.remoteAddress }),
    );
    const on: EventEmitter["on"] = server.on.bind(server);
    server.on = ((event: string, listener: StreamListener) =>
      on(event, event === "stream" ? this.#before(listener) : listener)) as typeof server.on;
  }

  #before(next: StreamListener): StreamListener {
    return (stream, headers, ...rest) => {
      // grpc-js listens only once the stream is let in.
      stream.on("error", () => {});
      this.#resets.watch(stream);
      this.#turnstile.pass(() => {
        if (stream.closed || stream.destroyed) return false;
        if (!this.#judge(stream, headers)) return true;
        next(stream, headers, ...rest);
        this.#unfinished.watch(stream);
        return true;
      });
    };
  }

  /** Whether the call may go on; answered if not. */
  #judge(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): boolean {
    const { access, calls, connections, log, now } = this.parts;
    const method = methodLabels(headers[":path"]);
    const startedAtS = now();
    calls.started(method);
    whenAnswered(stream, (code) => calls.handled(method, code, now() - startedAtS));

    if (needsToken(method)) {
      const verdict = access(headers.authorization);
      if (verdict !== "granted") {
        const fields = { method: method.grpc_method, code: "UNAUTHENTICATED", peer: peerOf(stream.session) };
        this.#denied({ ...fields, reason: verdict === "missing" ? "no token" : "wrong token" });
        log.debug("call", fields);
        refuse(stream, Status.UNAUTHENTICATED, accessDenied[verdict]);
        return false;
      }
      const socket = stream.session && rawSocketOf(stream.session);
      if (socket !== undefined) connections.welcome(socket);
    }
    const timeout = headers["grpc-timeout"];
    if (typeof timeout === "string") headers["grpc-timeout"] = boundedTimeout(timeout);
    return true;
  }
}

/** Ends a call at once; the rest of it is not read. */
function refuse(stream: ServerHttp2Stream, code: Status, details: string): void {
  if (stream.closed || stream.destroyed) return;
  if (!stream.headersSent) {
    const status = { "grpc-status": String(code), "grpc-message": encodeURI(details) };
    stream.respond({ ":status": 200, "content-type": "application/grpc+proto", ...status }, { endStream: true });
  }
  stream.close(constants.NGHTTP2_NO_ERROR);
}

function peerOf(session: Session | undefined): string {
  const { remoteAddress, remotePort } = session?.socket ?? {};
  return remoteAddress === undefined ? "unknown" : `${remoteAddress}:${remotePort}`;
}
