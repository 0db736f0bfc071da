/** A body whose bytes are in memory and that has not ended. */
interface UnfinishedBody {
  bytes: number;
  giveUp: () => void;
}

/**
 * Bounds the bytes held of bodies that have begun and not ended, of all requests together: beyond it the largest is given
 * up, so that a few large ones never keep out many small ones.
 */
export class UnfinishedBodies {
  readonly #bodies = new Set<UnfinishedBody>();
  #bytes = 0;

  constructor(private readonly maxBytes: number) {}

  get bytes(): number {
    return this.#bytes;
  }

  /** Counts a body; `giveUp` ends the wait for the rest of it. */
  begin(giveUp: () => void): { add(bytes: number): void; end(): void } {
    const body: UnfinishedBody = { bytes: 0, giveUp };
    this.#bodies.add(body);
    return {
      add: (bytes) => {
        if (!this.#bodies.has(body)) return;
        body.bytes += bytes;
        this.#bytes += bytes;
        if (this.#bytes > this.maxBytes) this.#giveUpLargest();
      },
      end: () => this.#forget(body),
    };
  }

  #giveUpLargest(): void {
    const [first, ...rest] = this.#bodies;
    if (first === undefined) return;
    const largest = rest.reduce((most, body) => (body.bytes > most.bytes ? body : most), first);
    this.#forget(largest);
    largest.giveUp();
  }

  #forget(body: UnfinishedBody): void {
    if (this.#bodies.delete(body)) this.#bytes -= body.bytes;
  }
}
