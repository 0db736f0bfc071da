/** HTTP/2 and gRPC by hand, to send what no client would (RFC 9113, RFC 7541). */
import { connect, type Socket } from "node:net";

export const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

export const frameType = {
  data: 0,
  headers: 1,
  resetStream: 3,
  settings: 4,
  ping: 6,
  windowUpdate: 8,
  continuation: 9,
} as const;
export const endStream = 1;
export const endHeaders = 4;

/** @param length what the frame says of its payload */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array,
  length = payload.length,
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export const settings = frame(frameType.settings, 0, 0, new Uint8Array());

/** What a client says first. */
export function opening(...frames: Uint8Array[]): Buffer {
  return Buffer.concat([Buffer.from(preface), settings, ...frames]);
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** The header block of a gRPC call, with headers of its own after those that every call has. */
export function callHeaders(path: string, more: Record<string, string> = {}): Buffer {
  return Buffer.concat([
    header(":method", "POST"),
    header(":scheme", "http"),
    header(":path", path),
    header(":authority", "test"),
    header("content-type", "application/grpc"),
    header("te", "trailers"),
    ...Object.entries(more).map(([name, value]) => header(name, value)),
  ]);
}

/** HPACK: a literal header without indexing, with a new name, both up to 126 bytes. */
function header(name: string, value: string): Buffer {
  const string = (text: string) => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]);
  return Buffer.concat([Buffer.from([0]), string(name), string(value)]);
}

/** A gRPC message. @param length what it says of its own length */
export function message(bytes: Uint8Array, length = bytes.length): Buffer {
  return Buffer.concat([Buffer.from([0]), uint32(length), bytes]);
}

export async function openSocket(address: string): Promise<Socket> {
  const socket = connect(Number(address.split(":")[1]), "127.0.0.1");
  socket.on("error", () => {});
  await new Promise((resolve) => socket.once("connect", resolve));
  return socket;
}

/** The types of the frames that a socket receives, in order, from now on. */
export function frameTypes(socket: Socket): number[] {
  const types: number[] = [];
  let bytes = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    while (bytes.length >= 9 && bytes.length >= 9 + bytes.readUIntBE(0, 3)) {
      types.push(bytes[3] ?? 0);
      bytes = bytes.subarray(9 + bytes.readUIntBE(0, 3));
    }
  });
  return types;
}
