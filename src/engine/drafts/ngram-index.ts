/** Where the longest known suffix of a history was before. */
export interface Match {
  /** How many ids are the same. */
  length: number;
  /** The position of the last of them. */
  end: number;
}

/** The suffixes that are looked for, the longest first. */
export const suffixLengths = [16, 8, 5, 3, 2] as const;

/** Ids that are remembered. A power of two. */
export const rememberedIds = 4096;

/** Long before a position stops being a small integer. */
const mostPositions = 2 ** 30;

/**
 * The last 4,096 ids of a history, and where its last ids, for each of some lengths, occurred before: LZ77 compressors
 * find repetitions in this way. An id costs a few hash look-ups, whatever the history; the memory is fixed, 180 kB.
 */
export class NgramIndex {
  readonly #ids = new Int32Array(rememberedIds);
  readonly #chains = suffixLengths.map((length) => new Chains(this.#ids, length));
  #count = 0;
  #match: Match | undefined;

  /** Where the longest of the history's suffixes was before: its last place. */
  get match(): Match | undefined {
    return this.#match;
  }

  push(id: number): void {
    if (this.#count === mostPositions) this.clear();
    const position = this.#count++;
    this.#ids[position % rememberedIds] = id;
    this.#match = undefined;
    for (const chains of this.#chains) {
      const end = chains.push(position);
      if (end !== undefined) this.#match ??= { length: chains.length, end };
    }
  }

  /**
   * The `count` ids that followed the match, the nearest first; none without a match. A match so near that the history
   * ends is continued with what was just proposed, as a repetition would be.
   */
  following(count: number): number[] {
    const { match } = this;
    if (match === undefined) return [];
    const period = this.#count - 1 - match.end;
    return Array.from({ length: count }, (_, i) => this.#ids[(match.end + 1 + (i % period)) % rememberedIds] ?? 0);
  }

  /** Forgets the history. */
  clear(): void {
    this.#count = 0;
    this.#match = undefined;
    for (const chains of this.#chains) chains.clear();
  }
}

/** For every n-gram of one length the position at which it last ended. N-grams of the same hash are chained by age. */
class Chains {
  readonly #newest = new Int32Array(rememberedIds).fill(-1);
  readonly #older = new Int32Array(rememberedIds);

  constructor(
    private readonly ids: Int32Array,
    readonly length: number,
  ) {}

  /** Adds the n-gram that ends at `position`, the history's last, and returns where it ended before. */
  push(position: number): number | undefined {
    if (position + 1 < this.length) return undefined;
    const bucket = this.#hash(position);
    // The first end of an n-gram of which all ids are still remembered; what is older has been overwritten.
    const oldest = Math.max(position - rememberedIds + this.length, this.length - 1);
    let newer = -1;
    let end = this.#newest[bucket] ?? -1;
    while (end >= oldest && !this.#same(end, position)) {
      newer = end;
      end = this.#older[end % rememberedIds] ?? -1;
    }
    const known = end >= oldest;
    // An n-gram has one place in its chain, that of its last end, so that chains stay short.
    if (known && newer >= 0) this.#older[newer % rememberedIds] = this.#older[end % rememberedIds] ?? -1;
    const first = this.#newest[bucket] ?? -1;
    this.#older[position % rememberedIds] = known && first === end ? (this.#older[end % rememberedIds] ?? -1) : first;
    this.#newest[bucket] = position;
    return known ? end : undefined;
  }

  clear(): void {
    this.#newest.fill(-1);
  }

  #same(a: number, b: number): boolean {
    for (let i = 0; i < this.length; i++) {
      if (this.ids[(a - i) % rememberedIds] !== this.ids[(b - i) % rememberedIds]) return false;
    }
    return true;
  }

  #hash(position: number): number {
    let hash = 0;
    for (let i = 0; i < this.length; i++) {
      hash = Math.imul(hash ^ (this.ids[(position - i) % rememberedIds] ?? 0), 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    return (hash >>> 0) % rememberedIds;
  }
}
