import { ModelChanged } from "../checkpoint/model-error.ts";
import { EngineCore } from "./core.ts";
import { DeviceFailed, type Engine, type Generation } from "./engine.ts";
import type { Call, FromWorker, LoadOptions, Refusal, ToWorker } from "./messages.ts";

declare const self: Worker;

const send = (message: FromWorker, transfer: ArrayBufferLike[] = []) =>
  self.postMessage(message, transfer as Transferable[]);
const refusal = (error: unknown): Refusal =>
  error instanceof Error ? { name: error.name, message: error.message } : { name: "Error", message: String(error) };

let core: Engine | undefined;
const generations = new Map<number, Generation>();
type Steps = Extract<FromWorker, { kind: "steps" }>["steps"];
/** What the current step has added so far. */
let steps: Steps = [];

self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  switch (data.kind) {
    case "open":
      return void open(data.options);
    case "call":
      return void answer(data.id, data.call);
    case "generate":
      return void generate(data);
    case "allow":
      return generations.get(data.id)?.allow(data.steps);
    case "stop":
      return generations.get(data.id)?.stop();
  }
};

async function open(options: LoadOptions): Promise<void> {
  try {
    // Loaded here, since ONNX Runtime's library is unpacked when its module loads: when that fails, this says why.
    const { loadBackend } = await import("./load.ts");
    const { backend, ...loaded } = await loadBackend(options, (progress) => send({ kind: "progress", ...progress }));
    core = new EngineCore(backend, loaded.info);
    send({ kind: "loaded", ...loaded });
  } catch (error) {
    send({ kind: "failed", error: refusal(error) });
    end();
  }
}

async function answer(id: number, call: Call): Promise<void> {
  try {
    const value = await perform(call);
    const saved = call.method === "save" && value && typeof value === "object" && "body" in value ? value.body : null;
    send({ kind: "answer", id, value }, saved instanceof Uint8Array ? [saved.buffer] : []);
  } catch (error) {
    refuse(id, error);
  }
  if (call.method === "close") end();
}

async function generate({ id, sequence, request }: Extract<ToWorker, { kind: "generate" }>): Promise<void> {
  try {
    const generation = loaded().generate(sequence, request, (step) => {
      // All that one step adds is sent in one message.
      if (steps.push({ id, step }) === 1) queueMicrotask(tell);
    });
    generations.set(id, generation);
    send({ kind: "answer", id, value: await generation.ended });
  } catch (error) {
    refuse(id, error);
  } finally {
    generations.delete(id);
  }
}

function refuse(id: number, error: unknown): void {
  if (error instanceof ModelChanged || error instanceof DeviceFailed) send({ kind: "broken", error: refusal(error) });
  else send({ kind: "refused", id, error: refusal(error) });
}

function tell(): void {
  send({ kind: "steps", steps });
  steps = [];
}

/** Ends this thread, not the process. Only the thread itself knows that it is not inside ONNX Runtime now. */
function end(): void {
  process.exit();
}

/** The types of a method and its arguments meet in `Call`. */
function perform({ method, args }: Call): Promise<unknown> {
  const engine = loaded();
  return Reflect.apply(engine[method], engine, args);
}

function loaded(): Engine {
  if (!core) throw new Error("the engine is not loaded");
  return core;
}
