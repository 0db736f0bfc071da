import { closeSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { openCheckpoint } from "../checkpoint/safetensors.ts";
import { describeFileFailure } from "../files/disk-space.ts";
import { writeEntry } from "./weight-file.ts";
import type { FromWeightWorker, ToWeightWorker } from "./weight-threads.ts";

declare const self: Worker;

const send = (message: FromWeightWorker) => self.postMessage(message);

self.onmessage = ({ data }: MessageEvent<ToWeightWorker>) => {
  try {
    perform(data);
    send({ kind: "done" });
  } catch (thrown) {
    const error = describeFileFailure(dirname(data.file), thrown);
    send({ kind: "failed", error: error instanceof Error ? error.message : String(error) });
  }
};

/**
 * Files that a thread opens belong to the process: they are opened and closed for each task, so that none stays open.
 */
function perform({ modelDir, file, entry }: ToWeightWorker): void {
  const checkpoint = openCheckpoint(modelDir);
  try {
    const fd = openSync(file, "r+");
    try {
      writeEntry(entry, checkpoint, fd, (bytes) => send({ kind: "written", bytes }));
    } finally {
      closeSync(fd);
    }
  } finally {
    checkpoint.close();
  }
}
