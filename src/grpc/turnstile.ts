/** Streams that one turn of the event loop lets in. */
const perTurn = 32;

/**
 * Lets in a few streams in each turn of the event loop, in their order. If a burst of streams that are reset at once
 * were answered as they arrive, each would cost a call's whole set-up, and nothing else could run. Those that wait here
 * are reset before their turn comes.
 */
export class Turnstile {
  #left = perTurn;
  #waiting: (() => boolean)[] = [];
  #scheduled = false;

  /** @param letIn false when there is nothing to do any more */
  pass(letIn: () => boolean): void {
    if (this.#waiting.length > 0 || this.#left === 0) this.#waiting.push(letIn);
    else if (letIn()) this.#left--;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#nextTurn());
  }

  #nextTurn(): void {
    this.#scheduled = false;
    this.#left = perTurn;
    let taken = 0;
    while (this.#left > 0 && taken < this.#waiting.length) if (this.#waiting[taken++]?.()) this.#left--;
    this.#waiting = this.#waiting.slice(taken);
    if (this.#waiting.length > 0) this.#schedule();
  }
}
