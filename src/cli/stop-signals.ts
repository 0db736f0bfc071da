/** Signals that end a command in order: the first one asks, a second one insists. */

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
export type StopSignalName = (typeof signals)[number];

export class StopSignals implements Disposable {
  readonly #controller = new AbortController();
  #received: StopSignalName | null = null;

  constructor() {
    for (const name of signals) process.on(name, this.#onSignal);
  }

  /** Aborts with the first signal. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The first signal received. */
  get received(): StopSignalName | null {
    return this.#received;
  }

  [Symbol.dispose](): void {
    for (const name of signals) process.off(name, this.#onSignal);
  }

  readonly #onSignal = (name: NodeJS.Signals): void => {
    if (this.#received !== null) process.exit(130);
    this.#received = signals.find((known) => known === name) ?? "SIGTERM";
    this.#controller.abort();
  };
}
