import type { WeightTask } from "./weight-file.ts";

/** What the tasks of one weight file share. */
export interface WeightJob {
  /** Directory of the checkpoint. */
  modelDir: string;
  /** The weight file, which must exist. */
  file: string;
}

export type ToWeightWorker = WeightJob & { task: WeightTask };

export type FromWeightWorker =
  | { kind: "written"; bytes: number }
  | { kind: "done"; digests: Map<string, string> }
  | { kind: "failed"; error: string };

/**
 * Performs the tasks in this order on some threads, each taking the next when it is free. Returns the SHA-256 (hex)
 * of every tensor read. When one fails, the others finish what they are at, so that nobody writes any more when the
 * error arrives.
 */
export async function performInThreads(
  threads: number,
  job: WeightJob,
  tasks: readonly WeightTask[],
  onWritten: (bytes: number) => void,
): Promise<Map<string, string>> {
  const queue = [...tasks];
  const digests = new Map<string, string>();
  const work = async (worker: Worker) => {
    for (let task = queue.shift(); task !== undefined; task = queue.shift()) {
      for (const [name, digest] of await perform(worker, { ...job, task }, onWritten)) digests.set(name, digest);
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
  return digests;
}

function perform(
  worker: Worker,
  message: ToWeightWorker,
  onWritten: (bytes: number) => void,
): Promise<Map<string, string>> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<FromWeightWorker>) => {
      if (data.kind === "written") onWritten(data.bytes);
      else if (data.kind === "done") resolve(data.digests);
      else reject(new Error(data.error));
    };
    worker.onerror = (event) => reject(new Error(`a thread that converts weights failed: ${event.message}`));
    worker.postMessage(message);
  });
}
