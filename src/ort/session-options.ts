import type { InferenceSession } from "./index.ts";

/** How every session is set up, with `threads` threads within an operator. */
export function sessionOptions(threads: number): InferenceSession.SessionOptions {
  return {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: "sequential",
    graphOptimizationLevel: "disabled", // the graph is written with the fused operators already
    enableMemPattern: false, // it would keep one pattern for each shape, for ever
    logSeverityLevel: 3,
    // Between two operators threads wait awake: to wake one costs 8 to 10% of a step on a quiet machine. But a thread
    // that spins for long on a core that somebody else needs holds up every operator: up to three times as long.
    extra: { session: { intra_op: { allow_spinning: "1", spin_duration_us: "50" } } },
  };
}
