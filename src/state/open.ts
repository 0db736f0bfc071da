import { StateError } from "./errors.ts";
import { buffersUnder, type Call, type FromWorker, type OpenOptions, type ToWorker } from "./messages.ts";
import type { StateStore } from "./store.ts";

interface Pending {
  resolve: (value: never) => void;
  reject: (error: Error) => void;
}

/** A store in a thread of its own. */
export interface OpenState extends StateStore {
  /** Aborts when the thread has crashed. Nothing is stored any more: a server can only end, and be started again. */
  readonly crashed: AbortSignal;
}

/**
 * Opens a state folder, or a database, in a thread of its own, so that waiting for the disk holds up neither calls nor
 * the engine, and so that a busy main thread loses no lease.
 * @throws StateError unusable, in-use, newer, damaged, full, unreachable
 */
export async function openState(
  options: OpenOptions,
  worker = new Worker(new URL("./state-worker.ts", import.meta.url).href),
): Promise<OpenState> {
  const store = new WorkerStore(worker);
  await store.open(options);
  return store;
}

class WorkerStore implements OpenState {
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  readonly #crashed = new AbortController();
  readonly crashed = this.#crashed.signal;
  #ended: Error | undefined;

  constructor(private readonly worker: Worker) {
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#receive(data);
    worker.onerror = (event) => this.#crash(`the state's thread crashed: ${event.message}`);
    worker.addEventListener("close", () => this.#crash("the state's thread ended unexpectedly"));
  }

  create: StateStore["create"] = (session) => this.#call({ method: "create", args: [session] });
  acquire: StateStore["acquire"] = (id) => this.#call({ method: "acquire", args: [id] });
  release: StateStore["release"] = (lease) => this.#call({ method: "release", args: [lease] });
  want: StateStore["want"] = (id) => this.#call({ method: "want", args: [id] });
  fleet: StateStore["fleet"] = () => this.#call({ method: "fleet", args: [] });
  find: StateStore["find"] = (id) => this.#call({ method: "find", args: [id] });
  list: StateStore["list"] = () => this.#call({ method: "list", args: [] });
  inactiveSince: StateStore["inactiveSince"] = (ms) => this.#call({ method: "inactiveSince", args: [ms] });
  restored: StateStore["restored"] = (lease, replayedTokens, facts) =>
    this.#call({ method: "restored", args: [lease, replayedTokens, facts] });
  remove: StateStore["remove"] = (id, only) => this.#call({ method: "remove", args: [id, only] });
  commit: StateStore["commit"] = (entries) => this.#call({ method: "commit", args: [entries] });
  ids: StateStore["ids"] = (id, from, to) => this.#call({ method: "ids", args: [id, from, to] });
  loadSnapshot: StateStore["loadSnapshot"] = (id, facts, atMost) =>
    this.#call({ method: "loadSnapshot", args: [id, facts, atMost] });
  saveSnapshot: StateStore["saveSnapshot"] = (lease, snapshot) =>
    this.#call({ method: "saveSnapshot", args: [lease, snapshot] }, buffersUnder(snapshot.body));
  fork: StateStore["fork"] = (from, at, session) => this.#call({ method: "fork", args: [from, at, session] });
  adopt: StateStore["adopt"] = (session, ids, snapshot) =>
    this.#call({ method: "adopt", args: [session, ids, snapshot] }, buffersUnder(snapshot?.body ?? []));
  sizes: StateStore["sizes"] = () => this.#call({ method: "sizes", args: [] });

  async open(options: OpenOptions): Promise<void> {
    try {
      await this.#send<void>(0, { kind: "open", options });
    } catch (error) {
      this.worker.terminate();
      throw error;
    }
  }

  async close(): Promise<void> {
    if (this.#ended) return;
    await this.#call({ method: "close", args: [] });
    this.#end(new Error("the state is closed"));
    this.worker.terminate();
  }

  /** The value is what the worker's method of the same name gave: the types meet in `Call`. */
  #call<T>(call: Call, transfer: ArrayBuffer[] = []): Promise<T> {
    const id = this.#nextId++;
    return this.#send<T>(id, { kind: "call", id, call }, transfer);
  }

  #send<T>(id: number, message: ToWorker, transfer: ArrayBuffer[] = []): Promise<T> {
    if (this.#ended) return Promise.reject(this.#ended);
    return new Promise<T>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.worker.postMessage(message, transfer);
    });
  }

  #receive(message: FromWorker): void {
    const pending = this.#pending.get(message.id);
    this.#pending.delete(message.id);
    if (message.kind === "answer") pending?.resolve(message.value as never);
    else pending?.reject(errorOf(message.error));
  }

  #crash(why: string): void {
    if (this.#ended) return;
    this.#end(new Error(why));
    this.#crashed.abort(this.#ended);
  }

  #end(why: Error): void {
    this.#ended ??= why;
    for (const pending of this.#pending.values()) pending.reject(this.#ended);
    this.#pending.clear();
  }
}

function errorOf({ message, state }: { message: string; state?: StateError["kind"] }): Error {
  return state === undefined ? new Error(message) : new StateError(state, message);
}
