/** What kakeya's exit code says. */
export const exit = {
  /** Done, and every gate that counts passed. */
  done: 0,
  failure: 1,
  /** The command line was wrong. */
  usage: 2,
  /** Or a report contradicts its own turns. */
  gateFailed: 3,
  /** A gate that counts (memory, work, invariants, errors) could not be decided. */
  inconclusive: 4,
  interrupted: 130,
} as const;

export type ExitCode = (typeof exit)[keyof typeof exit];

/** The command line was wrong: the message says what was given and what would be accepted. */
export class UsageError extends Error {
  override name = "UsageError";
}
