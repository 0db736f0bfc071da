import { StateError } from "./errors.ts";
import { buffersUnder, type Call, type FromWorker, type OpenOptions, type Refusal, type ToWorker } from "./messages.ts";
import { PostgresStore } from "./postgres/postgres-store.ts";
import { SqliteStore } from "./sqlite-store.ts";
import type { LoadedSnapshot, StateStore } from "./store.ts";

declare const self: Worker;

let store: StateStore | undefined;

/** Calls run as they come: a snapshot that waits for the disk does not delay commits. */
self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  if (data.kind === "open") void answer(0, () => open(data.options));
  else void answer(data.id, () => perform(data.call));
};

async function open(options: OpenOptions): Promise<void> {
  store = await ("url" in options ? PostgresStore.open(options) : SqliteStore.open(options));
}

async function answer(id: number, work: () => Promise<unknown>): Promise<void> {
  try {
    const value = await work();
    send({ kind: "answer", id, value }, buffersOf(value));
  } catch (error) {
    send({ kind: "refused", id, error: refusalOf(error) }, []);
  }
}

function send(message: FromWorker, transfer: ArrayBuffer[]): void {
  self.postMessage(message, transfer);
}

async function perform(call: Call): Promise<unknown> {
  if (store === undefined) throw new Error("the state is not open");
  switch (call.method) {
    case "create":
      return await store.create(...call.args);
    case "acquire":
      return await store.acquire(...call.args);
    case "release":
      return await store.release(...call.args);
    case "want":
      return await store.want(...call.args);
    case "fleet":
      return await store.fleet(...call.args);
    case "find":
      return await store.find(...call.args);
    case "list":
      return await store.list(...call.args);
    case "inactiveSince":
      return await store.inactiveSince(...call.args);
    case "restored":
      return await store.restored(...call.args);
    case "remove":
      return await store.remove(...call.args);
    case "commit":
      return await store.commit(...call.args);
    case "ids":
      return await store.ids(...call.args);
    case "saveSnapshot":
      return await store.saveSnapshot(...call.args);
    case "loadSnapshot":
      return await store.loadSnapshot(...call.args);
    case "fork":
      return await store.fork(...call.args);
    case "adopt":
      return await store.adopt(...call.args);
    case "sizes":
      return await store.sizes(...call.args);
    case "close":
      return await store.close(...call.args);
  }
}

/** A snapshot's memory is handed over, not copied. */
function buffersOf(value: unknown): ArrayBuffer[] {
  if (typeof value !== "object" || value === null || !("setAside" in value)) return [];
  const { snapshot } = value as LoadedSnapshot;
  return buffersUnder(snapshot?.body ?? []);
}

function refusalOf(error: unknown): Refusal {
  if (error instanceof StateError) return { message: error.message, state: error.kind };
  return { message: error instanceof Error ? error.message : String(error) };
}
