import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { Connections } from "../../src/host/connections.ts";
import { createLog } from "../../src/host/log.ts";
import { type Asked, startWebServer, type WebServerOptions } from "../../src/host/web-server.ts";
import { eventually } from "../eventually.ts";
import { scratchDir } from "../scratch.ts";
import { makeRsaCertificate } from "../serve/certificates.ts";

const log = createLog({ level: "error", format: "text", write: () => {}, now: () => new Date(0) });

async function serve(answer: WebServerOptions["answer"], options: Partial<WebServerOptions> & { max?: number } = {}) {
  const connections = new Connections({ max: options.max ?? 100, log, now: () => 0 });
  const bind = { kind: "tcp", host: "127.0.0.1", port: 0 } as const;
  const server = await startWebServer({ bind, tls: undefined, connections, answer, ...options });
  return { ...server, connections, [Symbol.asyncDispose]: () => server.stop() };
}

/** A connection that has sent `text`, and all that came back. */
function dial(port: number, text = "") {
  const socket = connect(port, "127.0.0.1").on("error", () => {});
  let received = "";
  socket.on("data", (chunk) => {
    received += chunk.toString("latin1");
  });
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket.write(text);
  return { socket, closed, received: () => received };
}

const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const post = (bytes: number) => `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${bytes}\r\n\r\n`;
const hello = async () => new Response("hello");

/** Time enough for what is ready to be sent and received: both ends are in this process. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise(setImmediate);
}

test("silent connections count, and make room for one that asks; whoever was let in stays", async () => {
  const admit = async ({ welcome }: Asked) => {
    welcome();
    return new Response("hello");
  };
  await using server = await serve(admit, { max: 8 });
  const admitted = dial(server.port, get);
  await eventually("an answer", () => admitted.received().endsWith("hello") || undefined);
  const silent = Array.from({ length: 20 }, () => dial(server.port));
  await eventually("all but seven to be closed", () => server.connections.turnedAway >= 13 || undefined);
  expect(server.connections.count).toBe(8);
  const late = dial(server.port, get);
  await eventually("an answer", () => late.received().endsWith("hello") || undefined);
  admitted.socket.write(get);
  await eventually("a second answer", () => admitted.received().split("hello").length === 3 || undefined);
  for (const { socket } of [...silent, admitted, late]) socket.destroy();
  await eventually("all to be closed", () => server.connections.count === 0 || undefined);
});

test("a connection that sends no request in time is closed, with TLS as without; one that waits is not", async () => {
  using scratch = scratchDir();
  const { cert, key } = await makeRsaCertificate(scratch.path);
  const files = { cert: readFileSync(cert), key: readFileSync(key), requestCert: false, rejectUnauthorized: false };
  const tls = { ...files, minVersion: "TLSv1.2", ciphers: "HIGH" } as const;
  const released = Promise.withResolvers<Response>();
  await using plain = await serve(() => released.promise, { headersTimeoutS: 0.05 });
  await using secure = await serve(hello, { tls, headersTimeoutS: 0.05 });
  const waiting = dial(plain.port, get);
  await Promise.all([dial(plain.port), dial(plain.port, get.slice(0, 20)), dial(secure.port)].map((it) => it.closed));
  released.resolve(new Response("hello"));
  await eventually("the answer", () => waiting.received().endsWith("hello") || undefined);
  await waiting.closed;
});

test("of a body nobody reads next to nothing is taken, and its sender gets the answer", async () => {
  const size = 64 * 2 ** 20;
  let taken: Socket | undefined;
  const refuse = async () => {
    await turns(2000);
    return new Response("no", { status: 401, headers: { connection: "close" } });
  };
  await using server = await serve(refuse, {
    connections: watched((socket) => {
      taken = socket;
    }),
  });
  const sender = dial(server.port, post(size));
  sender.socket.write(Buffer.alloc(size));
  await eventually("a connection", () => taken);
  await eventually("the request's headers", () => (taken?.bytesRead ?? 0) > 0 || undefined);
  await turns(1000);
  expect(taken?.bytesRead).toBeLessThan(2 ** 20);
  await eventually("the answer", () => sender.received().endsWith("no") || undefined);
  expect(sender.received()).toStartWith("HTTP/1.1 401 ");
  await sender.closed;
});

test("of bodies nobody reads, nothing is taken once their headers are here", async () => {
  const taken: Socket[] = [];
  const released = Promise.withResolvers<void>();
  const refuse = async () => {
    await released.promise;
    return new Response("no", { status: 401, headers: { connection: "close" } });
  };
  await using server = await serve(refuse, { connections: watched((socket) => taken.push(socket)) });
  const head = post(4 * 2 ** 20);
  const senders = Array.from({ length: 20 }, () => dial(server.port, head));
  await eventually("all headers", () => (taken.filter((it) => it.bytesRead > 0).length === 20 ? true : undefined));
  await turns(100);
  for (const { socket } of senders) socket.write(Buffer.alloc(4 * 2 ** 20));
  await turns(2000);
  expect(taken.map((it) => it.bytesRead)).toEqual(senders.map(() => head.length));
  released.resolve();
  await Promise.all(senders.map((it) => it.closed));
  expect(taken.map((it) => it.bytesRead)).toEqual(senders.map(() => head.length));
  for (const { received } of senders) expect(received()).toStartWith("HTTP/1.1 401 ");
});

test("what a connection has sent is freed once it is parsed, with TLS as without", async () => {
  using scratch = scratchDir();
  const { cert, key } = await makeRsaCertificate(scratch.path);
  const files = { cert: readFileSync(cert), key: readFileSync(key), requestCert: false, rejectUnauthorized: false };
  for (const tls of [undefined, { ...files, minVersion: "TLSv1.2", ciphers: "HIGH" } as const]) {
    const chunks: Buffer[] = [];
    const connections = watched((socket) => socket.on("data", (chunk: Buffer) => chunks.push(chunk)));
    const echo = async ({ request }: Asked) => new Response(await request.text());
    await using server = await serve(echo, { tls, connections });
    const body = "x".repeat(1_000_000);
    const url = `${tls === undefined ? "http" : "https"}://127.0.0.1:${server.port}/`;
    const response = await fetch(url, { method: "POST", body, tls: { rejectUnauthorized: false } });
    expect(await response.text()).toBe(body);
    expect(chunks.length).toBeGreaterThan(0);
    expect(chunks.filter(({ length }) => length > 0)).toEqual([]);
  }
});

function watched(see: (socket: Socket) => void): Connections {
  const connections = new Connections({ max: 100, log, now: () => 0 });
  const guard = connections.guard.bind(connections);
  connections.guard = (door) => {
    guard(door);
    door.prependListener("connection", see);
  };
  return connections;
}

test("a body is read as fast as it is wanted, whole", async () => {
  await using server = await serve(async ({ request }) => {
    let sum = 0;
    for await (const chunk of request.body ?? []) {
      for (const byte of chunk) sum += byte;
      await turns(1);
    }
    return Response.json({ sum });
  });
  const body = Buffer.alloc(3_000_000, 1);
  for (const sent of [body, new Blob([body]).stream()]) {
    const response = await fetch(`http://127.0.0.1:${server.port}/`, { method: "POST", body: sent });
    expect(await response.json()).toEqual({ sum: body.length });
  }
});

test("events wait for a client that does not read, and end when it leaves", async () => {
  let sent = 0;
  const left = Promise.withResolvers<void>();
  const events = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        sent++;
        controller.enqueue(new Uint8Array(65_536));
      },
      cancel: () => left.resolve(),
    },
    { highWaterMark: 0 },
  );
  const headers = { "content-type": "text/event-stream" };
  const gone = Promise.withResolvers<void>();
  await using server = await serve(async ({ request }) => {
    request.signal.addEventListener("abort", () => gone.resolve());
    return new Response(events, { headers });
  });
  const client = connect(server.port, "127.0.0.1").pause();
  client.write(get);
  await eventually("a first event", () => sent > 0 || undefined);
  await turns(2000);
  expect(sent).toBeLessThan(500);
  client.destroy();
  await Promise.all([left.promise, gone.promise]);
});

test.each([
  ["is none", "GARBAGE\r\n\r\n"],
  ["has two lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
  ["has endless headers", `GET / HTTP/1.1\r\nHost: x\r\nX: ${"y".repeat(1e6)}\r\n\r\n`],
  ["asks for no path", "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"],
  ["wants a tunnel", "CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n"],
])("a request that %s is refused, and others are answered", async (_, text) => {
  await using server = await serve(hello);
  const bad = dial(server.port, text);
  await bad.closed;
  expect(bad.received()).not.toContain("hello");
  expect(await (await fetch(`http://127.0.0.1:${server.port}/`)).text()).toBe("hello");
});
