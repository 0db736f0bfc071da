import type { Server, Socket } from "node:net";
import type { Log } from "./log.ts";
import { seldom } from "./seldom.ts";

export interface ConnectionOptions {
  /** Connections at once, over all doors. */
  max: number;
  log: Log;
  /** Monotonic clock, in seconds. */
  now: () => number;
}

/** How long a peer has to close its side of a connection that we have closed, in seconds. */
const lingerS = 2;

/**
 * Bounds the connections of all doors together. At the bound, a new connection takes the place of the oldest stranger:
 * a connection on which no call was let in yet. So silence and wrong tokens keep nobody out. Where there is no
 * stranger, the new connection is closed.
 */
export class Connections {
  readonly #open = new Set<Socket>();
  /** Oldest first. */
  readonly #strangers = new Set<Socket>();
  readonly #full: (fields: { connections: number }) => void;
  #turnedAway = 0;

  constructor(private readonly options: ConnectionOptions) {
    const { log, now } = options;
    this.#full = seldom("too many connections: strangers are closed; see --max-connections", { write: log.warn, now });
  }

  get count(): number {
    return this.#open.size;
  }

  /** Connections that were closed because there was no room. */
  get turnedAway(): number {
    return this.#turnedAway;
  }

  /** Watches over a door that does not listen yet. */
  guard(door: Server): void {
    door.prependListener("connection", (socket: Socket) => this.#admit(socket));
  }

  /** A call that came on it was let in. */
  welcome(socket: Socket): void {
    this.#strangers.delete(socket);
  }

  /** We have closed it. Without this, its descriptor stays open until the peer closes its side, too. */
  endSoon(socket: Socket): void {
    const timer = setTimeout(() => socket.destroy(), lingerS * 1000);
    timer.unref();
    socket.once("close", () => clearTimeout(timer));
  }

  #admit(socket: Socket): void {
    socket.once("close", () => {
      this.#open.delete(socket);
      this.#strangers.delete(socket);
    });
    if (this.#open.size >= this.options.max) {
      const [oldest = socket] = this.#strangers;
      this.#turnedAway++;
      this.#full({ connections: this.#open.size });
      this.#forget(oldest);
      oldest.destroy();
      if (oldest === socket) return;
    }
    this.#open.add(socket);
    this.#strangers.add(socket);
  }

  #forget(socket: Socket): void {
    this.#open.delete(socket);
    this.#strangers.delete(socket);
  }
}
