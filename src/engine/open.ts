import { type DigestedRange, staysWhole } from "../graph/digest.ts";
import { discardManifest } from "../graph/engine-manifest.ts";
import {
  DeviceFailed,
  DeviceUnavailable,
  type EndReason,
  type Engine,
  EngineCrashed,
  type EngineInfo,
  type EngineOptions,
  ForeignSequence,
  type Step,
} from "./engine.ts";
import type { Call, FromWorker, Refusal, ToWorker } from "./messages.ts";

type Loaded = Extract<FromWorker, { kind: "loaded" }>;

interface Pending {
  resolve: (value: never) => void;
  reject: (error: Error) => void;
  /** Of a generation. */
  onStep?: (step: Step) => void;
}

/**
 * Loads a model and starts the engine's worker. The worker ends by itself, after "failed" and after "close": a worker
 * that is terminated inside onnxruntime-node takes the whole process with it (SIGABRT: its C++ exception can no longer
 * become a JavaScript one).
 */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  const { onProgress, ...load } = options;
  const worker = new Worker(new URL("./worker.ts", import.meta.url).href);
  const loaded = await new Promise<Loaded>((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
      if (data.kind === "progress") onProgress?.(data);
      else if (data.kind === "loaded") resolve(data);
      else if (data.kind === "failed") reject(errorOf(data.error));
    };
    worker.onerror = (event) => reject(new EngineCrashed(`the engine's worker failed to start: ${event.message}`));
    post(worker, { kind: "open", options: load });
  });
  return new WorkerEngine(worker, loaded);
}

class WorkerEngine implements Engine {
  readonly info: EngineInfo;
  readonly #crash = new AbortController();
  readonly crashed = this.#crash.signal;
  /** Stops reading files in the background. */
  readonly #stop = new AbortController();
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  #ended: Error | undefined;
  #closing: Promise<void> | undefined;

  constructor(
    private readonly worker: Worker,
    { info, dir, sampled }: Loaded,
  ) {
    this.info = info;
    void this.#watch(dir, sampled);
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#receive(data);
    worker.onerror = (event) => this.#end(new EngineCrashed(`the engine's worker crashed: ${event.message}`));
    worker.addEventListener("close", () => this.#end(new EngineCrashed("the engine's worker ended unexpectedly")));
  }

  create: Engine["create"] = (...args) => this.#call({ method: "create", args });
  free: Engine["free"] = (...args) => this.#call({ method: "free", args });
  append: Engine["append"] = (...args) => this.#call({ method: "append", args });
  state: Engine["state"] = (...args) => this.#call({ method: "state", args });
  save: Engine["save"] = (...args) => this.#call({ method: "save", args });
  /** The saved sequence's memory is handed over, not copied. */
  load: Engine["load"] = (saved) => this.#call({ method: "load", args: [saved] }, [saved.body.buffer]);
  fork: Engine["fork"] = (...args) => this.#call({ method: "fork", args });
  corrupt: Engine["corrupt"] = (...args) => this.#call({ method: "corrupt", args });

  generate: Engine["generate"] = (sequence, request, onStep) => {
    const id = this.#nextId++;
    const say = (message: ToWorker) => this.#ended === undefined && post(this.worker, message);
    const ended = this.#answer<EndReason>(id, { kind: "generate", id, sequence, request }, onStep);
    return {
      ended,
      allow: (steps) => void say({ kind: "allow", id, steps }),
      stop: () => void say({ kind: "stop", id }),
    };
  };

  /** Resolves when the calls in flight are answered and the worker is gone. */
  async close(): Promise<void> {
    this.#stop.abort();
    if (this.#ended) return this.#closing;
    const gone = new Promise<void>((resolve) => this.worker.addEventListener("close", () => resolve()));
    const answered = this.#call({ method: "close", args: [] });
    this.#closing = Promise.all([answered, gone]).then(() => undefined);
    this.#ended = new Error("the engine is closed");
    return this.#closing;
  }

  #call<T>(call: Call, transfer: ArrayBufferLike[] = []): Promise<T> {
    const id = this.#nextId++;
    return this.#answer<T>(id, { kind: "call", id, call }, undefined, transfer);
  }

  /** The value is what the worker's method of the same name gave: the types meet in `ToWorker`. */
  #answer<T>(
    id: number,
    message: ToWorker,
    onStep?: (step: Step) => void,
    transfer: ArrayBufferLike[] = [],
  ): Promise<T> {
    if (this.#ended) return Promise.reject(this.#ended);
    return new Promise<T>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, ...(onStep && { onStep }) });
      post(this.worker, message, transfer);
    });
  }

  #receive(message: FromWorker): void {
    switch (message.kind) {
      case "steps":
        for (const { id, step } of message.steps) this.#pending.get(id)?.onStep?.(step);
        break;
      case "answer":
        this.#taken(message.id)?.resolve(message.value as never);
        break;
      case "refused":
        this.#taken(message.id)?.reject(errorOf(message.error));
        break;
      case "broken":
        this.#end(crashOf(message.error));
        break;
    }
  }

  #taken(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }

  /**
   * Slowly reads the rest of what the start only sampled. Damage ends the engine: nobody knows which answers were
   * wrong.
   */
  async #watch(dir: string, sampled: readonly DigestedRange[]): Promise<void> {
    for (const range of sampled) {
      if (await staysWhole(range, this.#stop.signal)) continue;
      discardManifest(dir);
      const problem = "is not what it was when the engine file was built";
      this.#end(new EngineCrashed(`${range.file} ${problem}; the next start builds it again from the checkpoint`));
      return;
    }
  }

  #end(why: Error): void {
    if (this.#ended === undefined) this.#crash.abort(why);
    this.#ended ??= why;
    this.#stop.abort();
    for (const pending of this.#pending.values()) pending.reject(why);
    this.#pending.clear();
  }
}

function errorOf({ name, message }: Refusal): Error {
  const named = [ForeignSequence, DeviceUnavailable].find((kind) => kind.name === name);
  return named ? new named(message) : new Error(message);
}

function crashOf({ name, message }: Refusal): EngineCrashed {
  return name === "DeviceFailed" ? new DeviceFailed(message) : new EngineCrashed(message);
}

function post(worker: Worker, message: ToWorker, transfer: ArrayBufferLike[] = []): void {
  worker.postMessage(message, transfer as Transferable[]);
}
