import { Cancelled, typedError } from "./errors.ts";

/** The calls of one client. Each can be cancelled by its caller's signal; all are cancelled when the client closes. */
export class Calls {
  readonly #open = new Set<AbortController>();
  #closed = false;

  /** Sends a unary call. @throws KakeyaError */
  async run<T>(callerSignal: AbortSignal | undefined, send: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { signal, end } = this.#begin(callerSignal);
    try {
      return await send(signal);
    } catch (error) {
      throw typedError(error);
    } finally {
      end();
    }
  }

  /** Passes a stream on. Leaving it cancels the call. @throws KakeyaError */
  async *stream<T>(
    callerSignal: AbortSignal | undefined,
    open: (signal: AbortSignal) => AsyncIterable<T>,
  ): AsyncGenerator<T, void> {
    const { signal, end } = this.#begin(callerSignal);
    try {
      yield* open(signal);
    } catch (error) {
      throw typedError(error);
    } finally {
      end();
    }
  }

  close(): void {
    this.#closed = true;
    for (const call of this.#open) call.abort();
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
