import type { ServerHttp2Stream } from "node:http2";

export interface UnfinishedLimits {
  /** Bytes of the unfinished requests of one connection. */
  perConnectionBytes: number;
  /** Bytes of all unfinished requests. */
  totalBytes: number;
}

/** Requests of one connection that have not arrived in full. */
interface Group {
  bytes: number;
  streams: Map<ServerHttp2Stream, number>;
}

/**
 * Bounds the bytes held of requests that have begun and not ended. gRPC passes a message on when it is complete; until
 * then its bytes stay in memory for as long as the caller likes. Beyond a limit the largest unfinished request is given
 * up, so that many small ones are never kept out by a few large ones.
 */
export class UnfinishedRequests {
  readonly #groups = new Map<object, Group>();
  #bytes = 0;

  /** @param giveUp ends the stream, and tells its caller why */
  constructor(
    private readonly limits: UnfinishedLimits,
    private readonly giveUp: (stream: ServerHttp2Stream) => void,
  ) {}

  get bytes(): number {
    return this.#bytes;
  }

  /** Counts a stream's bytes from now on; it must have a reader already. */
  watch(stream: ServerHttp2Stream): void {
    const connection = stream.session;
    if (connection === undefined) return;
    stream.on("data", (chunk: Buffer) => this.#add(connection, stream, chunk.length));
    const done = () => this.#remove(connection, stream);
    stream.once("end", done).once("close", done);
  }

  #add(connection: object, stream: ServerHttp2Stream, bytes: number): void {
    if (stream.closed || stream.destroyed) return;
    const group = this.#groups.get(connection) ?? { bytes: 0, streams: new Map() };
    this.#groups.set(connection, group);
    group.streams.set(stream, (group.streams.get(stream) ?? 0) + bytes);
    group.bytes += bytes;
    this.#bytes += bytes;
    if (group.bytes > this.limits.perConnectionBytes) this.#giveUpLargest([group]);
    if (this.#bytes > this.limits.totalBytes) this.#giveUpLargest(this.#groups.values());
  }

  #giveUpLargest(groups: Iterable<Group>): void {
    let largest: ServerHttp2Stream | undefined;
    let most = 0;
    for (const { streams } of groups) {
      for (const [stream, bytes] of streams) {
        if (bytes > most) [largest, most] = [stream, bytes];
      }
    }
    if (largest === undefined) return;
    if (largest.session !== undefined) this.#remove(largest.session, largest);
    this.giveUp(largest);
  }

  #remove(connection: object, stream: ServerHttp2Stream): void {
    const group = this.#groups.get(connection);
    const bytes = group?.streams.get(stream);
    if (group === undefined || bytes === undefined) return;
    group.streams.delete(stream);
    group.bytes -= bytes;
    this.#bytes -= bytes;
    if (group.streams.size === 0) this.#groups.delete(connection);
  }
}
