import { type Engine, EngineCrashed, type EngineInfo, type EngineOptions } from "./engine.ts";
import type { Call, FromWorker, ToWorker } from "./messages.ts";

interface Pending {
  resolve: (value: never) => void;
  reject: (error: Error) => void;
}

/**
 * Loads a model and starts the engine's worker. The worker ends by itself, after "failed" and after "close": a worker
 * that is terminated inside onnxruntime-node takes the whole process along (SIGABRT: its C++ exception can't become a
 * JavaScript one any more).
 */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  const { onProgress, ...load } = options;
  const worker = new Worker(new URL("./worker.ts", import.meta.url).href);
  const info = await new Promise<EngineInfo>((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
      if (data.kind === "progress") onProgress?.(data);
      else if (data.kind === "loaded") resolve(data.info);
      else if (data.kind === "failed") reject(new Error(data.error));
    };
    worker.onerror = (event) => reject(new EngineCrashed(`the engine's worker failed to start: ${event.message}`));
    post(worker, { kind: "load", options: load });
  });
  return new WorkerEngine(worker, info);
}

class WorkerEngine implements Engine {
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  #ended: Error | undefined;
  #closing: Promise<void> | undefined;

  constructor(
    private readonly worker: Worker,
    readonly info: EngineInfo,
  ) {
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#receive(data);
    worker.onerror = (event) => this.#end(new EngineCrashed(`the engine's worker crashed: ${event.message}`));
    worker.addEventListener("close", () => this.#end(new EngineCrashed("the engine's worker ended unexpectedly")));
  }

  createSlab: Engine["createSlab"] = () => this.#call({ method: "createSlab", args: [] });
  freeSlab: Engine["freeSlab"] = (slab) => this.#call({ method: "freeSlab", args: [slab] });
  append: Engine["append"] = (slab, tokenIds) => this.#call({ method: "append", args: [slab, tokenIds] });
  decode: Engine["decode"] = (requests) => this.#call({ method: "decode", args: [requests] });
  state: Engine["state"] = (slab) => this.#call({ method: "state", args: [slab] });
  corrupt: Engine["corrupt"] = (slab) => this.#call({ method: "corrupt", args: [slab] });

  /** Resolves when the calls in flight are answered and the worker is gone. */
  async close(): Promise<void> {
    if (this.#ended) return this.#closing;
    const gone = new Promise<void>((resolve) => this.worker.addEventListener("close", () => resolve()));
    const answered = this.#call({ method: "close", args: [] });
    this.#closing = Promise.all([answered, gone]).then(() => undefined);
    this.#ended = new Error("the engine is closed");
    return this.#closing;
  }

  /** The value is what the worker's method of the same name gave: the types meet in `Call`. */
  #call<T>(call: Call): Promise<T> {
    if (this.#ended) return Promise.reject(this.#ended);
    const id = this.#nextId++;
    return new Promise<T>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      post(this.worker, { kind: "call", id, call });
    });
  }

  #receive(message: FromWorker): void {
    if (message.kind !== "answer" && message.kind !== "refused") return;
    const pending = this.#pending.get(message.id);
    this.#pending.delete(message.id);
    if (message.kind === "answer") pending?.resolve(message.value as never);
    else pending?.reject(new Error(message.error));
  }

  #end(why: Error): void {
    this.#ended ??= why;
    for (const pending of this.#pending.values()) pending.reject(why);
    this.#pending.clear();
  }
}

function post(worker: Worker, message: ToWorker): void {
  worker.postMessage(message);
}
