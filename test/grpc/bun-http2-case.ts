/**
 * Prints as JSON how Bun's HTTP/2 server treats a peer, with or without the patch (first argument). It is a
 * process of its own because the patch stays.
 */
import http2, {
  type ClientHttp2Session,
  connect,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { type AddressInfo, connect as connectSocket } from "node:net";
import { patchBunHttp2 } from "../../src/grpc/bun-http2.ts";

const patched = process.argv[2] === "patched";
if (patched) patchBunHttp2();

const server = http2.createServer();
let served: ServerHttp2Session | undefined;
server.on("session", (session) => {
  served ??= session;
});
server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
  stream.on("error", () => {});
  stream.respond({ ":status": 200, "x-mark": "some value" });
  // More than the 64 KB that a peer takes before it reads.
  if (headers[":path"] === "/flood") stream.write(Buffer.alloc(1_000_000));
  else setTimeout(() => stream.end("pong"), 50);
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const { port } = server.address() as AddressInfo;

const client = connect(`http://127.0.0.1:${port}`);
client.on("error", () => {});
const flood = client.request({ ":path": "/flood" });
await new Promise((resolve) => flood.once("response", resolve));
// It stalls when the peer has taken what it takes unread: two windows.
while ((served?.socket.bytesWritten ?? 0) < 2 * 65_535) await Bun.sleep(5);
const answerBesideStalledStream = await answerOf(body(client, "/ping"));

const answersAfterCancels = await answersAfter(2000);

console.log(
  JSON.stringify({
    answersBesideStalledStream: answerBesideStalledStream === "pong",
    answersAfterCancels,
    indexesHeaders: usesDynamicTable(await responseHeaderBlock()),
  }),
);
process.exit(0);

async function body(session: ClientHttp2Session, path: string): Promise<string> {
  let text = "";
  for await (const chunk of session.request({ ":path": path })) text += chunk;
  return text;
}

/** Whether a connection still answers after that many cancelled streams. */
async function answersAfter(cancels: number): Promise<boolean> {
  const busy = connect(`http://127.0.0.1:${port}`);
  busy.on("error", () => {});
  for (let i = 0; i < cancels; i++) {
    const stream = busy.request({ ":path": "/ping" });
    stream.on("error", () => {});
    stream.close(http2.constants.NGHTTP2_CANCEL);
    if (i % 50 === 0) await Bun.sleep(1);
  }
  return (await answerOf(body(busy, "/ping")).catch(() => "refused")) === "pong";
}

/** With the patch an answer comes, however busy the machine is; without it, none is expected, and a second is enough. */
function answerOf(answer: Promise<string>): Promise<unknown> {
  return patched ? answer : Promise.race([answer, Bun.sleep(1500)]);
}

/** The payload of the first HEADERS frame that answers a GET (RFC 9113, section 6.2). */
async function responseHeaderBlock(): Promise<Buffer> {
  const get = Buffer.from([0x82, 0x86, 0x84, 0x01, 0x01, 0x61]); // GET http://a/ by HPACK's static table
  const socket = connectSocket(port, "127.0.0.1");
  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  socket.write(frame(4, 0, 0, Buffer.alloc(0)));
  socket.write(frame(1, 0x05, 1, get)); // END_STREAM | END_HEADERS
  let bytes = Buffer.alloc(0);
  for await (const chunk of socket) {
    bytes = Buffer.concat([bytes, chunk]);
    while (bytes.length >= 9 && bytes.length >= 9 + bytes.readUIntBE(0, 3)) {
      const end = 9 + bytes.readUIntBE(0, 3);
      if (bytes[3] === 1) return bytes.subarray(9, end);
      bytes = bytes.subarray(end);
    }
  }
  throw new Error("the server closed the connection without an answer");
}

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** Whether an HPACK block adds to the dynamic table or reads from it (RFC 7541, section 6). */
function usesDynamicTable(block: Buffer): boolean {
  let at = 0;
  const integer = (prefixBits: number): number => {
    const mask = 2 ** prefixBits - 1;
    let value = (block[at++] ?? 0) & mask;
    if (value < mask) return value;
    for (let shift = 0; ; shift += 7) {
      const byte = block[at++] ?? 0;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  };
  const skipString = () => {
    const length = integer(7);
    at += length;
  };
  while (at < block.length) {
    const first = block[at] ?? 0;
    if (first >= 0x80) {
      if (integer(7) > 61) return true;
    } else if (first >= 0x40) return true;
    else if (first >= 0x20) integer(5);
    else {
      if (integer(4) === 0) skipString();
      skipString();
    }
  }
  return false;
}
