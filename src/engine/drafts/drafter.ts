import { Acceptance } from "./acceptance.ts";
import { NgramIndex } from "./ngram-index.ts";

/**
 * Most guesses of one session in one step: with the token before them they fill half a block, the largest step that
 * pays.
 */
export const mostGuesses = 15;

/**
 * Guesses what comes next in one session from what came before in it (prompt lookup decoding, github.com/apoorvumang/
 * prompt-lookup-decoding), and how far ahead guessing pays. It depends only on the ids and on which guesses were right:
 * no clock, no randomness.
 */
export class Drafter {
  readonly #index = new NgramIndex();
  #acceptance = new Acceptance();

  /** The session's next id: read, or chosen. */
  push(id: number): void {
    this.#index.push(id);
  }

  /** The ids that a step with `count` guesses commits on average, its own among them. */
  expected(count: number): number {
    const { match } = this.#index;
    return match ? this.#acceptance.expected(match.length, count) : 1;
  }

  /** Up to `count` guesses of what follows the last id, the nearest first. */
  draft(count: number): number[] {
    return this.#index.following(count);
  }

  /** After each step, and before its accepted ids are pushed: how many guesses it ran, and how many were right. */
  settle(drafted: number, accepted: number): void {
    this.#acceptance.record(this.#index.match?.length ?? 0, drafted, accepted);
  }

  /** Knows nothing any more, so that it can serve another session. */
  clear(): void {
    this.#index.clear();
    this.#acceptance = new Acceptance();
  }
}

/**
 * How many guesses each session of a step should run: the number at which a millisecond commits most ids. `msOf` is the
 * time of a step with that many rows.
 */
export function draftLength(
  drafters: readonly Pick<Drafter, "expected">[],
  msOf: (rows: number) => number,
  most: number = mostGuesses,
): number {
  let best = 0;
  let rate = 0;
  for (let count = 0; count <= most; count++) {
    const ids = drafters.reduce((sum, drafter) => sum + drafter.expected(count), 0);
    const countRate = ids / msOf(drafters.length * (1 + count));
    if (countRate <= rate) continue;
    best = count;
    rate = countRate;
  }
  return best;
}
