import type { Planned } from "./plan.ts";

/** What all tasks of one weight file share. */
export interface WeightJob {
  /** Directory of the checkpoint. */
  modelDir: string;
  /** The weight file, which must exist. */
  file: string;
}

export type ToWeightWorker = WeightJob & { entry: Planned };

export type FromWeightWorker =
  | { kind: "written"; bytes: number }
  | { kind: "done" }
  | { kind: "failed"; error: string };

/**
 * Writes the entries in this order on several threads; each takes the next entry when it is free. When one fails, the
 * others finish the entry they are writing, so that nothing is written after the error arrives.
 */
export async function writeInThreads(
  threads: number,
  job: WeightJob,
  entries: readonly Planned[],
  onWritten: (bytes: number) => void,
): Promise<void> {
  const queue = [...entries];
  const work = async (worker: Worker) => {
    for (let entry = queue.shift(); entry !== undefined; entry = queue.shift()) {
      await perform(worker, { ...job, entry }, onWritten);
    }
  };
  const workers = Array.from(
    { length: threads },
    () => new Worker(new URL("./weight-worker.ts", import.meta.url).href),
  );
  const ends = workers.map((worker) =>
    work(worker).catch((error: unknown) => {
      queue.length = 0;
      throw error;
    }),
  );
  await Promise.allSettled(ends);
  for (const worker of workers) worker.terminate();
  await Promise.all(ends);
}

function perform(worker: Worker, message: ToWeightWorker, onWritten: (bytes: number) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<FromWeightWorker>) => {
      if (data.kind === "written") onWritten(data.bytes);
      else if (data.kind === "done") resolve();
      else reject(new Error(data.error));
    };
    worker.onerror = (event) => reject(new Error(`a thread that converts weights failed: ${event.message}`));
    worker.postMessage(message);
  });
}
