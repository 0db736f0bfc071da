/** What occupies one place in a row of places. */
export interface Occupant {
  /** The place where it is now; only `Places` writes it. */
  place: number;
}

/**
 * Which place in memory each occupant has. Sequences that run in one batch must lie side by side, because a graph takes
 * them as one tensor [n, ...]; those that run together keep running together, so moving them once is cheap.
 */
export class Places<T extends Occupant> {
  readonly #at: (T | undefined)[];

  constructor(readonly capacity: number) {
    this.#at = new Array<T | undefined>(capacity).fill(undefined);
  }

  /** Makes an occupant for the first free place, and puts it there. @throws RangeError when none is free. */
  take(make: (place: number) => T): T {
    const place = this.#at.indexOf(undefined);
    if (place < 0) throw new RangeError(`all ${this.capacity} places are in use; free one or raise --capacity`);
    const occupant = make(place);
    this.#at[place] = occupant;
    return occupant;
  }

  release(occupant: T): void {
    this.#at[occupant.place] = undefined;
  }

  /**
   * Brings `batch` side by side, calling `swap` for every two places whose contents must be exchanged. Returns the
   * batch in the order of its places.
   */
  gather(batch: readonly T[], swap: (a: number, b: number) => void): T[] {
    const places = batch.map(({ place }) => place);
    const lowest = Math.min(...places);
    if (Math.max(...places) - lowest + 1 !== batch.length) {
      const wanted = new Set<T | undefined>(batch);
      let to = 0;
      for (const from of places.sort((a, b) => a - b)) {
        if (from < batch.length) continue;
        while (wanted.has(this.#at[to])) to++;
        this.#exchange(from, to);
        swap(from, to);
      }
    }
    return batch.toSorted((a, b) => a.place - b.place);
  }

  #exchange(a: number, b: number): void {
    const [x, y] = [this.#at[a], this.#at[b]];
    this.#at[a] = y;
    this.#at[b] = x;
    if (x !== undefined) x.place = b;
    if (y !== undefined) y.place = a;
  }
}
