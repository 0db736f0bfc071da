/** Numbers of rows whose steps are timed; those between are interpolated. */
const sizes = [1, 2, 4, 8, 16, 32, 64];

/** Time relative to one row's, before anything is measured: blocks of 128, AVX-512. */
const usualRatios = [1, 1.1, 1.4, 2.2, 4, 7.5, 15];

/** A step that another process delayed is an outlier; a machine that became slower is not. */
const keptTimes = 15;

/** What a step costs by its number of rows, as measured: the median of the last 15 steps of a size. */
export class RowCosts {
  readonly #timesMs: number[][] = sizes.map(() => []);
  #mediansMs: number[] | undefined;

  /** @param rows of the step, with those that the row rule adds */
  record(rows: number, ms: number): void {
    const times = this.#timesMs[sizes.indexOf(rows)];
    if (!times) return;
    times.push(ms);
    if (times.length > keptTimes) times.shift();
    this.#mediansMs = undefined;
  }

  /** Milliseconds of a step with this many rows. */
  msOf(rows: number): number {
    this.#mediansMs ??= this.#estimate();
    const above = sizes.findIndex((size) => size >= rows);
    const [i, j] = above < 0 ? [sizes.length - 2, sizes.length - 1] : [Math.max(0, above - 1), above];
    const [from, to] = [sizes[i] ?? 1, sizes[j] ?? 1];
    const [fromMs, toMs] = [this.#mediansMs[i] ?? 1, this.#mediansMs[j] ?? 1];
    return from === to ? fromMs : fromMs + ((toMs - fromMs) * (rows - from)) / (to - from);
  }

  /** What is not measured is the nearest measured size below (or above) times the usual ratio; more rows never cost less. */
  #estimate(): number[] {
    const measured = this.#timesMs.map(median);
    const estimates = sizes.map((_, i) => {
      const near = measured.findLastIndex((ms, j) => j <= i && ms !== undefined);
      const known = near < 0 ? measured.findIndex((ms) => ms !== undefined) : near;
      return ((measured[known] ?? 1) * (usualRatios[i] ?? 1)) / (usualRatios[known] ?? 1);
    });
    return estimates.map((_, i) => Math.max(...estimates.slice(0, i + 1)));
  }
}

function median(values: readonly number[]): number | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
