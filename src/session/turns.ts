import { SessionError } from "./errors.ts";

interface Waiting {
  start: () => void;
  refuse: (reason: Error) => void;
}

/** One call at a time, in order of arrival, with a bounded number of waiting ones. */
export class Turns {
  #busy = false;
  #closed: Error | undefined;
  readonly #waiting = new Set<Waiting>();

  #expected: boolean;

  /**
   * @param onIdle called when no call runs or waits any more
   * @param expected a call is on its way
   */
  constructor(
    private readonly maxWaiting: number,
    private readonly onIdle: () => void = () => {},
    expected = false,
  ) {
    this.#expected = expected;
  }

  /** No call runs, none waits and none is expected. */
  get idle(): boolean {
    return !this.#busy && !this.#expected;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Why there are no more turns. */
  get closed(): Error | undefined {
    return this.#closed;
  }

  /** Waiting calls and later ones fail with `reason`; the running one goes on. */
  close(reason: Error): void {
    this.#closed ??= reason;
    for (const call of this.#waiting) call.refuse(reason);
  }

  /**
   * Resolves when all calls before this one have ended; disposing what it resolves to passes the turn on. A caller that
   * gives up while it waits leaves the queue.
   *
   * @throws SessionError resource-exhausted when too many calls wait already; the signal's reason when it aborts; the
   * reason of `close`.
   */
  async begin(signal?: AbortSignal): Promise<Disposable> {
    this.#expected = false;
    if (signal?.aborted && !this.#busy) this.onIdle();
    signal?.throwIfAborted();
    if (this.#closed !== undefined) throw this.#closed;
    if (this.#busy) await this.#wait(signal);
    this.#busy = true;
    let ended = false;
    return {
      [Symbol.dispose]: () => {
        if (ended) return;
        ended = true;
        this.#next();
      },
    };
  }

  #wait(signal?: AbortSignal): Promise<void> {
    if (this.#waiting.size >= this.maxWaiting) {
      throw new SessionError(
        "resource-exhausted",
        `${this.#waiting.size} calls wait for this session already; let some end before sending more`,
      );
    }
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiting.delete(call);
        signal?.removeEventListener("abort", giveUp);
      };
      const giveUp = () => call.refuse(signal?.reason);
      const call: Waiting = {
        start: () => {
          leave();
          resolve();
        },
        refuse: (reason) => {
          leave();
          reject(reason);
        },
      };
      signal?.addEventListener("abort", giveUp, { once: true });
      this.#waiting.add(call);
    });
  }

  /** Stays busy while it hands over, so that a newcomer cannot slip in between. */
  #next(): void {
    const [first] = this.#waiting;
    if (first !== undefined) first.start();
    else {
      this.#busy = false;
      this.onIdle();
    }
  }
}
