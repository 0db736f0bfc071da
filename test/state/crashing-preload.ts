/** With this before it, a server's state is in the thread that crashes. */
globalThis.Worker = class extends Worker {
  constructor(url: string | URL) {
    super(String(url).replace("src/state/state-worker.ts", "test/state/crashing-worker.ts"));
  }
};
