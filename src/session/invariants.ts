import type { SequenceState } from "../engine/engine.ts";

export type Invariant = "inv1" | "inv2";

export interface Violation {
  invariant: Invariant;
  message: string;
}

/** What a session expects of its sequence after running tokens. */
export interface Expectation {
  /** Tokens in the history before the run, counted by the session. */
  historyBefore: number;
  /** Tokens run. */
  ran: number;
  /** Tokens the cache can hold: sink + window. */
  cacheTokens: number;
}

/**
 * Compares what a session counts with what its cache counted from its own rows.
 *
 * INV-1: every layer holds exactly min(history, sink + window) rows.
 * INV-2: the position advances by exactly the tokens that were run; it never goes back.
 */
export function violationOf(expected: Expectation, state: SequenceState): Violation | undefined {
  const history = expected.historyBefore + expected.ran;
  if (state.position !== history) {
    return {
      invariant: "inv2",
      message: `INV-2 violated: the cache is at position ${state.position} after ${expected.ran} tokens from ${expected.historyBefore}`,
    };
  }
  const cached = Math.min(history, expected.cacheTokens);
  if (state.minRows !== cached || state.maxRows !== cached) {
    return {
      invariant: "inv1",
      message: `INV-1 violated: the session counts ${cached} cached tokens, its cache holds ${state.minRows} to ${state.maxRows} rows a layer`,
    };
  }
  return undefined;
}
