/** Order statistics and robust trends. Pure: the same numbers in give the same bits out. */

/**
 * The value at rank p * (n - 1), interpolated between its two neighbours; null when there is none.
 * `p` is in [0, 1].
 */
export function percentile(values: ArrayLike<number>, p: number): number | null {
  return percentileOfSorted(new Float64Array(values).sort(), p);
}

/** As `percentile`, for numbers already in ascending order. */
export function percentileOfSorted(sorted: ArrayLike<number>, p: number): number | null {
  const rank = p * (sorted.length - 1);
  const low = sorted[Math.floor(rank)];
  const high = sorted[Math.ceil(rank)];
  if (low === undefined || high === undefined) return null;
  return low + (high - low) * (rank - Math.floor(rank));
}

export function mean(values: ArrayLike<number>): number | null {
  if (values.length === 0) return null;
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] ?? 0;
  return sum / values.length;
}

/** Points of a series over time: `x` and `y` have one length. */
export interface Series {
  x: Float64Array;
  y: Float64Array;
}

/** A slope in y per x, with the ends of its confidence interval. */
export interface Trend {
  slope: number;
  low: number;
  high: number;
}

const confidence = 0.95;
const replicates = 1000;
const seed = 0x6b616b65;
/** All pairs of so many points are 7,140 slopes, so that 1000 replicates take a fraction of a second. */
const mostPoints = 120;
const fewestWholePeriods = 20;

/**
 * The Theil-Sen slope (the median slope over all pairs of points; Sen, JASA 63, 1968) with a 95% interval from a
 * moving-block bootstrap of its residuals (Künsch, Ann. Stat. 17, 1989). A block is `period` neighbouring points (at
 * most a third of all), so that whatever repeats with that period, or is shorter, is equally in every block.
 *
 * A long series is thinned first: runs of neighbouring points become their median, whole periods at a time where that
 * leaves enough points. The slope of the medians estimates the same trend, every point still counts, and the cost stays
 * linear in the series' length.
 *
 * Null when fewer than three points have different x.
 */
export function trend(series: Series, period: number): Trend | null {
  const size = thinningSize(series.x.length, period);
  const points = thin(series, size);
  const n = points.x.length;
  if (new Set(points.x).size < 3) return null;

  const pairs = new Pairs(points.x);
  const slope = pairs.medianSlope(points.y);
  const block = Math.max(1, Math.min(Math.ceil(period / size), Math.floor(n / 3)));
  const residuals = inflated(
    points.y.map((y, i) => y - slope * (points.x[i] ?? 0)),
    n / block,
  );

  const random = splitMix32(seed);
  const slopes = new Float64Array(replicates);
  const resampled = new Float64Array(n);
  for (let r = 0; r < replicates; r++) {
    for (let at = 0; at < n; at += block) {
      const from = Math.floor(random() * (n - block + 1));
      resampled.set(residuals.subarray(from, from + Math.min(block, n - at)), at);
    }
    // A slope of sums is the sum of slopes pair by pair: refitting the residuals alone gives the same median.
    slopes[r] = slope + pairs.medianSlope(resampled);
  }
  slopes.sort();
  const tail = (1 - confidence) / 2;
  const low = percentileOfSorted(slopes, tail) ?? slope;
  const high = percentileOfSorted(slopes, 1 - tail) ?? slope;
  return { slope, low: Math.min(low, slope), high: Math.max(high, slope) };
}

/**
 * Residuals of a fitted line are smaller than the errors they stand for. With few blocks that would make the interval
 * too narrow by a third; the usual correction for two fitted parameters restores it.
 */
function inflated(residuals: Float64Array, blocks: number): Float64Array {
  const centre = percentile(residuals, 0.5) ?? 0;
  const factor = Math.sqrt(blocks / (blocks - 2));
  return residuals.map((residual) => (residual - centre) * factor);
}

/** How many neighbours become one point. */
function thinningSize(n: number, period: number): number {
  const size = Math.max(1, Math.ceil(n / mostPoints));
  const wholePeriods = Math.ceil(size / period) * period;
  return size > 1 && n / wholePeriods >= fewestWholePeriods ? wholePeriods : size;
}

/** Each run of `size` neighbours as (mean x, median y); a short run at the end joins the one before it. */
export function thin(series: Series, size: number): Series {
  if (size === 1) return series;
  const n = Math.max(1, Math.floor(series.x.length / size));
  const x = new Float64Array(n);
  const y = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    const from = i * size;
    const to = i === n - 1 ? series.x.length : from + size;
    x[i] = mean(series.x.subarray(from, to)) ?? 0;
    y[i] = percentile(series.y.subarray(from, to), 0.5) ?? 0;
  }
  return { x, y };
}

/** All pairs of points with different x: their distances once, their slopes for any y. */
class Pairs {
  readonly #first: Uint16Array;
  readonly #second: Uint16Array;
  readonly #perX: Float64Array;
  readonly #slopes: Float64Array;

  constructor(x: Float64Array) {
    const most = (x.length * (x.length - 1)) / 2;
    const first = new Uint16Array(most);
    const second = new Uint16Array(most);
    const perX = new Float64Array(most);
    let n = 0;
    for (let i = 0; i < x.length; i++) {
      for (let j = i + 1; j < x.length; j++) {
        const distance = (x[j] ?? 0) - (x[i] ?? 0);
        if (distance === 0) continue;
        first[n] = i;
        second[n] = j;
        perX[n] = 1 / distance;
        n++;
      }
    }
    this.#first = first.subarray(0, n);
    this.#second = second.subarray(0, n);
    this.#perX = perX.subarray(0, n);
    this.#slopes = new Float64Array(n);
  }

  medianSlope(y: Float64Array): number {
    const slopes = this.#slopes;
    for (let k = 0; k < slopes.length; k++) {
      slopes[k] = ((y[this.#second[k] ?? 0] ?? 0) - (y[this.#first[k] ?? 0] ?? 0)) * (this.#perX[k] ?? 0);
    }
    const upper = select(slopes, slopes.length >> 1);
    if (slopes.length % 2 === 1) return upper;
    let lower = Number.NEGATIVE_INFINITY;
    for (let k = 0; k < slopes.length >> 1; k++) lower = Math.max(lower, slopes[k] ?? lower);
    return (lower + upper) / 2;
  }
}

/**
 * The k-th smallest number (Hoare's quickselect, pivot in the middle). Reorders `values`: afterwards those before k are
 * no greater than the k-th, and those after it no smaller.
 */
export function select(values: Float64Array, k: number): number {
  let left = 0;
  let right = values.length - 1;
  while (left < right) {
    const pivot = values[(left + right) >> 1] ?? 0;
    let i = left;
    let j = right;
    while (i <= j) {
      while ((values[i] ?? pivot) < pivot) i++;
      while ((values[j] ?? pivot) > pivot) j--;
      if (i > j) break;
      const swapped = values[i] ?? 0;
      values[i++] = values[j] ?? 0;
      values[j--] = swapped;
    }
    if (k <= j) right = j;
    else if (k >= i) left = i;
    else break;
  }
  return values[k] ?? Number.NaN;
}

/** Uniform numbers in [0, 1) from a 32-bit state (the SplitMix finalizer of Steele et al., OOPSLA 2014). */
export function splitMix32(state: number): () => number {
  let s = state | 0;
  return () => {
    s = (s + 0x9e3779b9) | 0;
    let z = s;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  };
}
