import type { Backend, Sequence } from "./backend.ts";
import { type Drafter, draftLength, mostGuesses } from "./drafts/drafter.ts";
import { RowCosts } from "./drafts/row-costs.ts";

/** The drafter of one sequence. */
export type Guesser = Pick<Drafter, "push" | "expected" | "draft" | "settle" | "clear">;

/** One sequence's share of a step: the token that was chosen, to which guesses are added; `most` tokens in all. */
interface Share<S> {
  sequence: S;
  tokenIds: number[];
  most: number;
}

/**
 * Adds as many guesses to steps as pay, by the cost of rows on this device and by how often guesses were right. The
 * rows of a step don't change each other's bits, so it changes no id which guesses are kept, and how many were tried.
 */
export class Speculation<S extends Sequence> {
  readonly #guessers = new Map<S, Guesser>();
  /** Cleared. To make one for each new sequence would leave 180 kB a sequence to the collector, which lets them pile up. */
  readonly #spare: Guesser[] = [];
  readonly #costs = new RowCosts();

  constructor(
    private readonly backend: Pick<Backend<S>, "mostRows" | "rowsOf">,
    private readonly newGuesser: () => Guesser,
  ) {}

  /** Ids that were appended to a sequence. */
  read(sequence: S, tokenIds: ArrayLike<number>): void {
    const guesser = this.#of(sequence);
    for (let i = 0; i < tokenIds.length; i++) guesser.push(tokenIds[i] ?? 0);
  }

  /** Adds each sequence's guesses to its tokens. */
  draft(shares: readonly Share<S>[]): void {
    const guessers = shares.map(({ sequence, tokenIds: [chosen] }) => {
      const guesser = this.#of(sequence);
      guesser.push(chosen ?? 0);
      return guesser;
    });
    const n = shares.length;
    const room = Math.floor(this.backend.mostRows / n) - 1;
    const most = Math.min(mostGuesses, room, Math.max(...shares.map((share) => share.most - 1)));
    const msOf = (rows: number) => this.#costs.msOf(this.backend.rowsOf(n, rows / n));
    const count = draftLength(guessers, msOf, most);
    for (const [i, share] of shares.entries()) {
      share.tokenIds.push(...(guessers[i]?.draft(Math.min(count, share.most - 1)) ?? []));
    }
  }

  /** The time that a step took, for the next choice of how many guesses pay. */
  timed(shares: readonly Pick<Share<S>, "tokenIds">[], ms: number): void {
    const longest = Math.max(...shares.map(({ tokenIds }) => tokenIds.length));
    this.#costs.record(this.backend.rowsOf(shares.length, longest), ms);
  }

  /** Of the tokens that a step ran, the first `kept` are part of the history now. */
  settle(sequence: S, tokenIds: readonly number[], kept: number): void {
    const guesser = this.#of(sequence);
    guesser.settle(tokenIds.length - 1, kept - 1);
    for (const id of tokenIds.slice(1, kept)) guesser.push(id);
  }

  forget(sequence: S): void {
    const guesser = this.#guessers.get(sequence);
    if (guesser === undefined) return;
    this.#guessers.delete(sequence);
    guesser.clear();
    this.#spare.push(guesser);
  }

  #of(sequence: S): Guesser {
    let guesser = this.#guessers.get(sequence);
    if (guesser === undefined) {
      guesser = this.#spare.pop() ?? this.newGuesser();
      this.#guessers.set(sequence, guesser);
    }
    return guesser;
  }
}
