import { suffixLengths } from "./ngram-index.ts";

/**
 * How often a guess was right before anything is known of a session, by the length of the suffix that it continues;
 * from prose, the kind of text that repeats itself least (results/measurements has the others).
 */
const usual = new Map<number, number>([
  [2, 0.34],
  [3, 0.52],
  [5, 0.65],
  [8, 0.83],
  [16, 0.91],
]);

/** The usual share counts as much as this many guesses of the session. */
const usualWeight = 6;

/** What a step tells is half forgotten after 50 more, so that a session whose text changes is tried again. */
const keptPerStep = 0.5 ** (1 / 50);

interface Guesses {
  tried: number;
  right: number;
  usual: number;
}

/**
 * How often guesses were right in one session. The guess after q right ones continues a suffix that is q longer than
 * the one that was found, and is as good as any guess from a suffix of that length.
 */
export class Acceptance {
  /** By suffix length, the longest first. */
  readonly #guesses: readonly Guesses[] = suffixLengths.map((length) => {
    return { tried: 0, right: 0, usual: usual.get(length) ?? 0 };
  });

  /** The ids that a step commits on average: its own, and those of `count` guesses after a suffix of this length. */
  expected(length: number, count: number): number {
    let ids = 1;
    let all = 1;
    for (let q = 0; q < count; q++) {
      const { tried, right, usual } = this.#of(length + q);
      all *= (right + usual * usualWeight) / (tried + usualWeight);
      ids += all;
    }
    return ids;
  }

  /** After a step with `drafted` guesses, of which the first `accepted` were right. */
  record(length: number, drafted: number, accepted: number): void {
    for (const guesses of this.#guesses) {
      guesses.tried *= keptPerStep;
      guesses.right *= keptPerStep;
    }
    // Guesses after the first wrong one tell nothing.
    for (let q = 0; q < Math.min(accepted + 1, drafted); q++) {
      const guesses = this.#of(length + q);
      guesses.tried++;
      if (q < accepted) guesses.right++;
    }
  }

  #of(length: number): Guesses {
    const guesses = this.#guesses[suffixLengths.findIndex((known) => known <= length)];
    if (!guesses) throw new RangeError(`a suffix of ${length} ids is none that is looked for`);
    return guesses;
  }
}
