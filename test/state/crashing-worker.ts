/** The state's thread, which crashes when a session labelled "crash" is created. */
import "../../src/state/state-worker.ts";
import type { ToWorker } from "../../src/state/messages.ts";

declare const self: Worker;

self.addEventListener("message", ({ data }: MessageEvent<ToWorker>) => {
  if (data.kind !== "call" || data.call.method !== "create" || data.call.args[0].label !== "crash") return;
  setTimeout(() => {
    throw new Error("boom");
  });
});
