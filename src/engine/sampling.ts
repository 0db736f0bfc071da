import type { Sampling } from "./engine.ts";

/** The id that follows logits [vocab] whose argmax is `best`, at `position`. @throws RangeError when there is none */
export function choose(
  { logits, best }: { logits: Float32Array; best: number },
  sampling: Sampling,
  position: number,
): number {
  return sampling.temperature === 0 ? best : sample(logits, sampling, position);
}

/**
 * Picks a token id from `logits` [vocab] with temperature (above 0), top-k and top-p (nucleus, arXiv 1904.09751), in
 * that order. The random number is a function of the seed and the position alone, so a history and a seed always give
 * the same id. Among equal logits the lower id comes first.
 *
 * @throws RangeError when a logit is NaN or the largest is infinite
 */
export function sample(logits: Float32Array, sampling: Sampling, position: number): number {
  const scaled = new Scaled(logits, sampling.temperature);
  const kept = sampling.topK === 0 && sampling.topP === 1 ? scaled.near(Infinity) : likeliest(scaled, sampling);
  let left = uniform(sampling.seed, position) * scaled.mass(kept);
  for (const id of kept) {
    left -= scaled.weight(id);
    if (left < 0) return id;
  }
  return kept.at(-1) ?? 0;
}

/** The ids that top-k and top-p leave, likeliest first. */
function likeliest(scaled: Scaled, { topK, topP }: Sampling): number[] {
  const all = scaled.near(Infinity);
  const limit = topK === 0 ? all.length : Math.min(topK, all.length);
  const total = topK === 0 ? scaled.mass(all) : Number.NaN;
  // Sorting a whole vocabulary would cost more than the model: look among the likeliest first, wider if need be.
  let ids = all;
  for (const width of [10, 20, 40]) {
    const near = scaled.near(width);
    if (topK === 0 ? scaled.mass(near) < topP * total : near.length < limit) continue;
    ids = near;
    break;
  }
  const sorted = ids.sort(scaled.likelierFirst).slice(0, limit);
  const goal = topP * (topK === 0 ? total : scaled.mass(sorted));
  let sum = 0;
  let length = 0;
  while (length < sorted.length && sum < goal) sum += scaled.weight(sorted[length++] ?? 0);
  return sorted.slice(0, Math.max(1, length));
}

/** Logits over a temperature. */
class Scaled {
  readonly #top: number;

  constructor(
    private readonly logits: Float32Array,
    private readonly temperature: number,
  ) {
    let top = Number.NEGATIVE_INFINITY;
    for (let id = 0; id < logits.length; id++) top = Math.max(top, logits[id] ?? top);
    if (!Number.isFinite(top)) throw new RangeError(`the largest logit is ${top}: no id can be chosen`);
    this.#top = top;
  }

  /** The probability, up to a common factor; 1 for the likeliest. */
  weight(id: number): number {
    return Math.exp(((this.logits[id] ?? Number.NEGATIVE_INFINITY) - this.#top) / this.temperature);
  }

  mass(ids: number[]): number {
    let sum = 0;
    for (const id of ids) sum += this.weight(id);
    return sum;
  }

  /** The ids whose weight is above exp(-width), in ascending order. */
  near(width: number): number[] {
    const floor = this.#top - width * this.temperature;
    const ids: number[] = [];
    for (let id = 0; id < this.logits.length; id++) if ((this.logits[id] ?? floor) >= floor) ids.push(id);
    return ids;
  }

  likelierFirst = (a: number, b: number): number => (this.logits[b] ?? 0) - (this.logits[a] ?? 0) || a - b;
}

const mask64 = (1n << 64n) - 1n;

/** A number in [0, 1) from the counter `position` under the key `seed`: SplitMix64 (Steele et al., OOPSLA 2014). */
export function uniform(seed: bigint, position: number): number {
  let z = (mix(seed & mask64) + (BigInt(position) + 1n) * 0x9e3779b97f4a7c15n) & mask64;
  z = mix(z);
  return Number(z >> 11n) / 2 ** 53;
}

function mix(value: bigint): bigint {
  let z = value;
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask64;
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask64;
  return z ^ (z >> 31n);
}
