import type { EngineCore } from "./core.ts";
import type { Call, FromWorker, ToWorker } from "./messages.ts";

declare const self: Worker;

const send = (message: FromWorker) => self.postMessage(message);
const text = (error: unknown) => (error instanceof Error ? error.message : String(error));

let core: EngineCore | undefined;
/** Calls run one after the other, in the order in which they came. */
let last: Promise<void> = Promise.resolve();

self.onmessage = (event: MessageEvent<ToWorker>) => {
  const message = event.data;
  last = last.then(() => (message.kind === "load" ? load(message.options) : answer(message.id, message.call)));
};

async function load(options: Extract<ToWorker, { kind: "load" }>["options"]): Promise<void> {
  try {
    // Loaded here, since ONNX Runtime's library is unpacked when its module loads: when that fails, this says why.
    const { loadEngine } = await import("./load.ts");
    const loaded = await loadEngine(options, (progress) => send({ kind: "progress", ...progress }));
    core = loaded.core;
    send({ kind: "loaded", info: loaded.info });
  } catch (error) {
    send({ kind: "failed", error: text(error) });
    end();
  }
}

async function answer(id: number, call: Call): Promise<void> {
  try {
    send({ kind: "answer", id, value: await perform(call) });
  } catch (error) {
    send({ kind: "refused", id, error: text(error) });
  }
  if (call.method === "close") end();
}

/** Ends this thread, not the process: nobody else can know that it is not inside ONNX Runtime just now. */
function end(): void {
  process.exit();
}

function perform(call: Call): unknown {
  if (!core) throw new Error("the engine is not loaded");
  switch (call.method) {
    case "createSlab":
      return core.createSlab();
    case "freeSlab":
      return core.freeSlab(...call.args);
    case "append":
      return core.append(...call.args);
    case "decode":
      return core.decode(...call.args);
    case "state":
      return core.state(...call.args);
    case "corrupt":
      return core.corrupt(...call.args);
    case "close":
      return core.close();
  }
}
