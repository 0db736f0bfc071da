import { constants, type ServerHttp2Stream } from "node:http2";
import type { Session } from "./bun-http2.ts";

/** What may be used at once, and what is added each second. */
interface Allowance {
  burst: number;
  perSecond: number;
}

/** A reset call costs up to 50 microseconds, in which nothing else runs: these are 50 ms at once, and 5% of a core. */
const ofServer: Allowance = { burst: 1000, perSecond: 1000 };
/** Twice as many as a connection can have open, and more than a busy client cancels. */
const ofConnection: Allowance = { burst: 512, perSecond: 500 };
/** So few resets of one connection are never too many, whatever others do. */
const harmless = 50;

/** Ends connections that reset calls faster than an honest client cancels them, alone or together with others. */
export class ResetLimit {
  readonly #server: Bucket;
  readonly #connections = new WeakMap<Session, Bucket>();

  /**
   * @param now monotonic clock, in seconds
   * @param onCut a connection is being ended
   */
  constructor(
    private readonly now: () => number,
    private readonly onCut: (session: Session) => void,
  ) {
    this.#server = new Bucket(ofServer, now());
  }

  /** Counts the stream when its caller resets it. */
  watch(stream: ServerHttp2Stream): void {
    const { session } = stream;
    if (session !== undefined) stream.once("aborted", () => this.#count(session));
  }

  #count(session: Session): void {
    if (session.destroyed) return;
    const nowS = this.now();
    const own = this.#connections.get(session) ?? new Bucket(ofConnection, nowS);
    this.#connections.set(session, own);
    const withinOwn = own.take(nowS);
    const withinServer = this.#server.take(nowS);
    if (withinOwn && (withinServer || own.taken <= harmless)) return;
    this.onCut(session);
    // At once, so that the rest of what it has sent is not even parsed.
    session.destroy(new Error("too many resets"), constants.NGHTTP2_ENHANCE_YOUR_CALM);
  }
}

class Bucket {
  #left: number;

  constructor(
    private readonly allowance: Allowance,
    private lastS: number,
  ) {
    this.#left = allowance.burst;
  }

  get taken(): number {
    return this.allowance.burst - this.#left;
  }

  /** False when nothing is left. */
  take(nowS: number): boolean {
    const { burst, perSecond } = this.allowance;
    this.#left = Math.min(burst, this.#left + (nowS - this.lastS) * perSecond);
    this.lastS = nowS;
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }
}
