import { Metadata, type CallOptions as RpcOptions } from "nice-grpc";
import { Cancelled, typedError } from "./errors.ts";
import { CutOff, mayBeRepeated, Patience } from "./retries.ts";

export interface CallsOptions {
  /** Bearer token, for a server that wants one. */
  token: string | undefined;
  /** Time for which a call is made again, without any progress, in seconds. */
  retryS: number;
}

/** What a call is about, and what its repetition would do. */
export interface CallTo {
  /** Proxies route by it. */
  sessionId?: string;
  /** Told which server answers, where servers have names. */
  onServer?: (name: string) => void;
  /** Whether the call does nothing that an earlier attempt at it has done. Absent: it does not. */
  isRepeatable?: () => boolean;
}

export interface Attempt extends RpcOptions {
  signal: AbortSignal;
  /** An attempt before this one may have been carried out, though its answer did not arrive. */
  mayHaveRun: boolean;
}

/**
 * The calls of one client. Each can be cancelled by its caller's signal; all are cancelled when the client closes. Those
 * that no server could take are made again, and so are those that broke off, where that does nothing twice.
 */
export class Calls {
  readonly #open = new Set<AbortController>();
  #closed = false;

  constructor(private readonly options: CallsOptions) {}

  /** Sends a unary call. @throws KakeyaError */
  async run<T>(callerSignal: AbortSignal | undefined, to: CallTo, send: (attempt: Attempt) => Promise<T>): Promise<T> {
    const one = async function* (attempt: Attempt) {
      yield await send(attempt);
    };
    for await (const answer of this.stream(callerSignal, to, one)) return answer;
    throw new Cancelled("the call ended without an answer");
  }

  /** Passes a stream on; `open` is called again after it broke. Leaving it cancels the call. @throws KakeyaError */
  async *stream<T>(
    callerSignal: AbortSignal | undefined,
    to: CallTo,
    open: (attempt: Attempt) => AsyncIterable<T>,
  ): AsyncGenerator<T, void> {
    const { signal, end } = this.#begin(callerSignal);
    const metadata = this.#metadata(to.sessionId);
    const patience = new Patience(this.options.retryS);
    let mayHaveRun = false;
    try {
      for (;;) {
        let pushback: string | undefined;
        const onHeader = (header: Metadata) => {
          const name = header.get("kakeya-server");
          if (name !== undefined) to.onServer?.(name);
        };
        const onTrailer = (trailer: Metadata) => {
          pushback = trailer.get("grpc-retry-pushback-ms");
        };
        try {
          for await (const message of open({ signal, mayHaveRun, metadata, onHeader, onTrailer })) {
            patience.renew();
            yield message;
          }
          return;
        } catch (error) {
          // With a pushback the server says that it has not begun the call.
          const isSafe = pushback !== undefined || to.isRepeatable?.() === true;
          if (signal.aborted || !isSafe || !mayBeRepeated(error)) throw error;
          if (!(await patience.pause(signal))) throw error;
          mayHaveRun ||= pushback === undefined;
        }
      }
    } catch (error) {
      throw error instanceof CutOff ? error : typedError(error);
    } finally {
      end();
    }
  }

  close(): void {
    this.#closed = true;
    for (const call of this.#open) call.abort();
  }

  #metadata(sessionId: string | undefined): Metadata {
    const { token } = this.options;
    return new Metadata({
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(sessionId === undefined ? {} : { "kakeya-session": sessionId }),
    });
  }

  // AbortSignal.any would hold on to every call's signal for as long as the client's lives (Node.js 20).
  #begin(callerSignal: AbortSignal | undefined): { signal: AbortSignal; end: () => void } {
    if (this.#closed) throw new Cancelled("the client is closed; create another one");
    const call = new AbortController();
    const abort = () => call.abort();
    if (callerSignal?.aborted) abort();
    callerSignal?.addEventListener("abort", abort, { once: true });
    this.#open.add(call);
    return {
      signal: call.signal,
      end: () => {
        callerSignal?.removeEventListener("abort", abort);
        this.#open.delete(call);
      },
    };
  }
}
