/**
 * Which place in memory each slab has. Slabs that run in one batch must lie side by side, because a graph takes them
 * as one tensor [n, ...]; slabs that run together keep running together, so moving them once is cheap.
 */
export class Pool {
  /** Slab ids by place. */
  readonly #at: (number | undefined)[];
  readonly #placeOf = new Map<number, number>();
  #next = 1;

  constructor(readonly capacity: number) {
    this.#at = new Array<number | undefined>(capacity).fill(undefined);
  }

  get size(): number {
    return this.#placeOf.size;
  }

  /** @throws RangeError when the pool is full. */
  create(): { id: number; place: number } {
    const place = this.#at.indexOf(undefined);
    if (place < 0) throw new RangeError(`all ${this.capacity} slabs are in use; free one or raise --capacity`);
    const id = this.#next++;
    this.#at[place] = id;
    this.#placeOf.set(id, place);
    return { id, place };
  }

  /** @throws RangeError when there is no slab `id`. */
  free(id: number): void {
    this.#at[this.place(id)] = undefined;
    this.#placeOf.delete(id);
  }

  has(id: number): boolean {
    return this.#placeOf.has(id);
  }

  place(id: number): number {
    const place = this.#placeOf.get(id);
    if (place === undefined) throw new RangeError(`there is no slab ${id}`);
    return place;
  }

  /**
   * Brings the slabs `ids` side by side, calling `swap` for every two places whose contents must change over.
   * Answers with the first place and the ids in the order of their places.
   */
  gather(ids: number[], swap: (a: number, b: number) => void): { first: number; ids: number[] } {
    const places = ids.map((id) => this.place(id));
    const lowest = Math.min(...places);
    const adjacent = Math.max(...places) - lowest + 1 === ids.length;
    const first = adjacent ? lowest : 0;
    if (!adjacent) {
      const wanted = new Set(ids);
      let to = 0;
      for (const from of places.sort((a, b) => a - b)) {
        if (from < ids.length) continue;
        while (wanted.has(this.#at[to] ?? 0)) to++;
        this.#exchange(from, to);
        swap(from, to);
      }
    }
    return { first, ids: this.#at.slice(first, first + ids.length).filter((id) => id !== undefined) };
  }

  #exchange(a: number, b: number): void {
    const [x, y] = [this.#at[a], this.#at[b]];
    this.#at[a] = y;
    this.#at[b] = x;
    if (x !== undefined) this.#placeOf.set(x, b);
    if (y !== undefined) this.#placeOf.set(y, a);
  }
}
