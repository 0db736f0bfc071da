import type { Sampling } from "./engine.ts";

/**
 * Picks a token id from `logits` [vocab] with temperature, top-k and top-p (nucleus, arXiv 1904.09751), in that order.
 * The random number is a function of the seed and the position alone, so a history and a seed always give the same id.
 * Equal logits are ordered by id.
 */
export function sample(logits: Float32Array, sampling: Sampling, position: number): number {
  const ids = candidates(logits, sampling.topK);
  const top = logits[ids[0] ?? 0] ?? 0;
  const weights = new Float64Array(ids.length);
  let total = 0;
  for (let i = 0; i < ids.length; i++) {
    const weight = Math.exp(((logits[ids[i] ?? 0] ?? 0) - top) / sampling.temperature);
    weights[i] = weight;
    total += weight;
  }
  let kept = ids.length;
  if (sampling.topP < 1) {
    let sum = 0;
    kept = 0;
    while (kept < ids.length && sum < sampling.topP * total) sum += weights[kept++] ?? 0;
    total = sum;
  }
  let left = uniform(sampling.seed, position) * total;
  for (let i = 0; i < kept; i++) {
    left -= weights[i] ?? 0;
    if (left < 0) return ids[i] ?? 0;
  }
  return ids[kept - 1] ?? 0;
}

/** The ids in descending order of their logits, at most `limit` of them (0: all). */
function candidates(logits: Float32Array, limit: number): Uint32Array {
  const ids = Uint32Array.from(logits, (_, id) => id);
  const before = (a: number, b: number) => (logits[b] ?? 0) - (logits[a] ?? 0) || a - b;
  if (limit === 0 || limit >= ids.length) return ids.sort(before);
  const floor = logits.slice().sort()[logits.length - limit] ?? Number.NEGATIVE_INFINITY;
  return ids
    .filter((id) => (logits[id] ?? 0) >= floor)
    .sort(before)
    .subarray(0, limit);
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
