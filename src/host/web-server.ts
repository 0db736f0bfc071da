/**
 * HTTP/1.1 whose connections are ours to count and to close. Bun.serve shows none of its sockets, and node:http shows one
 * only once it has sent a request; so sockets are accepted here, and handed to node:http with its event 'connection'.
 * node:http watches over no time limit of such a socket, and reads a body whether or not anybody wants it; both are done
 * here.
 */
import * as http from "node:http";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import * as tls from "node:tls";
import type { TcpBind } from "./bind.ts";
import type { Connections } from "./connections.ts";
import { freeBytes } from "./free-bytes.ts";
import type { TlsSettings } from "./tls.ts";

export interface WebServerOptions {
  bind: TcpBind;
  tls: TlsSettings | undefined;
  connections: Connections;
  /** Time for a connection to send all of a request's headers, in seconds: from its beginning, or its last answer, on. */
  headersTimeoutS?: number;
  /** Must not throw. */
  answer: (asked: Asked) => Promise<Response>;
}

/** A request as it came. */
export interface Asked {
  request: Request;
  peer: string | undefined;
  /** Its sender may call: the connection gives way to no other. */
  welcome: () => void;
}

export interface WebServer {
  readonly port: number;
  /** Ends all connections. */
  stop(): Promise<void>;
}

/** Time for a client to read an answer while it still sends a body that nobody wants, in seconds. */
const lingerS = 2;

/** @throws Error when it can't listen */
export async function startWebServer(options: WebServerOptions): Promise<WebServer> {
  const { bind, connections, headersTimeoutS = 10 } = options;
  const sockets = new Map<Socket, Idle>();
  const parser = http.createServer((incoming, outgoing) => {
    const idle = sockets.get(incoming.socket);
    idle?.requestBegins();
    outgoing.once("close", () => idle?.requestEnds());
    void exchange(options, incoming, outgoing).catch(() => incoming.socket.destroy());
  });
  parser.on("clientError", (_error, socket) => {
    if (socket.writable) socket.write("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    socket.destroy();
  });
  const begin = (socket: Socket) => {
    const idle = new Idle(headersTimeoutS, () => socket.destroy());
    sockets.set(socket, idle);
    socket.on("error", () => {}); // What ends a connection also closes it.
    socket.once("close", () => {
      idle.stop();
      sockets.delete(socket);
    });
  };
  const hand = (socket: Socket) => {
    parser.emit("connection", socket);
    socket.on("data", freeBytes); // The parser, which listens first, has made a copy of what is a body's.
  };
  const door: Server = options.tls === undefined ? createServer(hand) : tls.createServer({ ...options.tls }, hand);
  connections.guard(door);
  door.prependListener("connection", begin);
  await new Promise<void>((resolve, reject) => {
    door.once("error", reject);
    door.listen(bind.port, bind.host, resolve);
  });
  return {
    port: (door.address() as AddressInfo).port,
    stop: async () => {
      const closed = new Promise((resolve) => door.close(resolve));
      for (const socket of sockets.keys()) socket.destroy();
      await closed;
    },
  };
}

/** Ends a connection on which no request is under way for too long. */
class Idle {
  #underWay = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly timeoutS: number,
    private readonly end: () => void,
  ) {
    this.#wait();
  }

  requestBegins(): void {
    this.#underWay++;
    this.stop();
  }

  requestEnds(): void {
    if (--this.#underWay === 0) this.#wait();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #wait(): void {
    this.#timer = setTimeout(this.end, this.timeoutS * 1000);
    this.#timer.unref();
  }
}

async function exchange(
  { answer, connections, tls }: WebServerOptions,
  incoming: http.IncomingMessage,
  outgoing: http.ServerResponse,
): Promise<void> {
  const gone = new AbortController();
  outgoing.once("close", () => gone.abort());
  const request = webRequest(incoming, tls === undefined ? "http" : "https", gone.signal);
  const { socket } = incoming;
  const response =
    request === undefined
      ? new Response("the request line is not HTTP/1.1's\n", { status: 400 })
      : await answer({ request, peer: socket.remoteAddress, welcome: () => connections.welcome(socket) });
  // What has arrived of a body that nobody reads is not kept until its connection closes.
  if (request?.body?.locked === false) await request.body.cancel();
  await send(response, incoming, outgoing);
}

/** Undefined when its target or its method is none that a server of pages has. */
function webRequest(
  incoming: http.IncomingMessage,
  scheme: "http" | "https",
  signal: AbortSignal,
): Request | undefined {
  const { method = "", url = "", headers } = incoming;
  if (!url.startsWith("/")) return undefined;
  const hasBody = Number(headers["content-length"] ?? 0) > 0 || headers["transfer-encoding"] !== undefined;
  const body = hasBody ? bodyOf(incoming) : null;
  try {
    return new Request(`${scheme}://localhost${url}`, {
      method,
      headers: Object.entries(headers).map(([name, value]): [string, string] => [name, String(value)]),
      signal,
      ...(method === "GET" || method === "HEAD" ? {} : { body }),
    });
  } catch {
    return undefined;
  }
}

/**
 * A body of which nothing is taken from the connection before somebody reads it. Its chunks are the reader's to free; what
 * has arrived when it is cancelled is freed.
 */
function bodyOf(incoming: http.IncomingMessage): ReadableStream<Uint8Array> {
  const { socket } = incoming;
  const unread: Buffer[] = [];
  let over: "ended" | "closed" | "cancelled" | undefined;
  let isWanted = false;
  let wake = () => {};
  const hold = () => {
    isWanted = false;
    holdUnless(socket, () => isWanted || incoming.complete);
  };
  hold();
  const end = (how: "ended" | "closed") => {
    over ??= how;
    wake();
  };
  incoming.on("data", (chunk: Buffer) => {
    if (!incoming.complete) hold();
    if (over === undefined) unread.push(chunk);
    else freeBytes(chunk);
    wake();
  });
  incoming.once("end", () => {
    socket.resume(); // It tells when the client leaves.
    end("ended");
  });
  incoming.once("close", () => end("closed"));
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        while (unread.length === 0 && over === undefined) {
          const woken = new Promise<void>((resolve) => {
            wake = resolve;
          });
          isWanted = true;
          socket.resume();
          await woken;
        }
        const chunk = unread.shift();
        if (chunk !== undefined) controller.enqueue(chunk);
        else if (over === "ended") controller.close();
        else if (over === "closed") throw new Error("the connection closed in the body");
      },
      cancel() {
        over = "cancelled";
        for (const chunk of unread.splice(0)) freeBytes(chunk);
        if (!incoming.complete) hold();
      },
    },
    { highWaterMark: 0 },
  );
}

/**
 * Stops reading from a connection. Its pause() alone stops what is handed on; the chunk after it, of up to 512 KB, would be
 * read and kept as long as the connection is paused. Both its stream and node:http's ask for that chunk in the next tick,
 * and are overruled after it.
 */
function holdUnless(socket: Socket, isWanted: () => boolean): void {
  socket.pause();
  const hold = () => {
    if (isWanted()) return;
    socket.pause();
    if ("_handle" in socket) (socket._handle as { pause?: () => void } | null)?.pause?.();
  };
  process.nextTick(() => process.nextTick(hold));
}

async function send(response: Response, incoming: http.IncomingMessage, outgoing: http.ServerResponse): Promise<void> {
  const headers = Object.fromEntries(response.headers);
  if (response.headers.get("content-type")?.startsWith("text/event-stream")) {
    outgoing.writeHead(response.status, headers);
    await stream(response.body, outgoing);
    outgoing.end();
    return;
  }
  const bytes = Buffer.from(await response.arrayBuffer());
  outgoing.writeHead(response.status, {
    ...headers,
    ...(response.status === 204 ? {} : { "content-length": bytes.length }),
  });
  if (incoming.method !== "HEAD") outgoing.write(bytes);
  if (incoming.complete) return void outgoing.end();
  // The rest of the body is not read. A connection that is closed at once, with bytes unread, would take the answer along.
  const timer = setTimeout(() => incoming.socket.destroy(), lingerS * 1000);
  outgoing.once("close", () => clearTimeout(timer));
}

async function stream(body: ReadableStream<Uint8Array> | null, outgoing: http.ServerResponse): Promise<void> {
  const reader = body?.getReader();
  if (reader === undefined) return;
  outgoing.once("close", () => void reader.cancel().catch(() => {}));
  outgoing.flushHeaders();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    if (outgoing.write(next.value)) continue;
    await drained(outgoing);
  }
}

/** Resolves when more can be written, or the connection has closed. Leaves no listener behind, however often it is asked. */
function drained(outgoing: http.ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      outgoing.off("drain", end).off("close", end);
      resolve();
    };
    if (outgoing.destroyed) resolve();
    else outgoing.once("drain", end).once("close", end);
  });
}
