/** How much may lie uncollected. A collection takes a millisecond or two and comes once in many steps. */
const limitBytes = 8 * 2 ** 20;

/**
 * onnxruntime-node hands out a copy of every output, even of one that was given memory to go to. The collector sees
 * only small objects and lets the copies pile up: a quarter of a gigabyte in ten minutes at a vocabulary of 151,936. So
 * their bytes are counted, and collected when they come to 8 MiB: a clock could not promise a limit.
 */
export class OutputCopies {
  #bytes = 0;

  /** Counts the `bytes` of a run's outputs. */
  count(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes < limitBytes) return;
    this.#bytes = 0;
    Bun.gc(true);
  }
}
