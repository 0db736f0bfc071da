import type { InferenceSession } from "./index.ts";

/** What is the same for every session, whatever runs it. */
const anyDevice = {
  interOpNumThreads: 1,
  executionMode: "sequential",
  graphOptimizationLevel: "disabled", // the graph is written with the fused operators already
  enableMemPattern: false, // it would keep one pattern for each shape, for ever
  logSeverityLevel: 3,
} as const satisfies InferenceSession.SessionOptions;

/** How every session on the processor is set up, with `threads` threads within an operator. */
export function sessionOptions(threads: number): InferenceSession.SessionOptions {
  return {
    ...anyDevice,
    intraOpNumThreads: threads,
    // Between two operators threads wait awake: to wake one costs 8 to 10% of a step on a quiet machine. But a thread
    // that spins for long on a core that somebody else needs holds up every operator: up to three times as long.
    extra: { session: { intra_op: { allow_spinning: "1", spin_duration_us: "50" } } },
  };
}

/** Where a session on the GPU leaves an output: where it is, for another run, or in this process's memory. */
export type OutputPlace = "gpu-buffer" | "cpu";

/**
 * How every session on the GPU is set up. `outputs` names all of the graph's outputs, unless all of them are for this
 * process. A tensor that stays on the GPU must never be asked for its data: the library would end the process.
 */
export function gpuSessionOptions(outputs?: Readonly<Record<string, OutputPlace>>): InferenceSession.SessionOptions {
  return {
    ...anyDevice,
    intraOpNumThreads: 1,
    executionProviders: ["webgpu"],
    ...(outputs && { preferredOutputLocation: outputs }),
    // A node without a kernel for the GPU would run on the processor, with a copy each way: it is refused instead.
    extra: { session: { disable_cpu_ep_fallback: "1" } },
  };
}
