/**
 * Rotary position embedding, half-split convention (element i turns with element i + headDim/2), from float64 angles,
 * so that position 10,000,000 is as exact as position 10. Source: RoFormer, arXiv 2104.09864.
 */

/** Writes the cosines and sines of `position` into row `row` of cos and sin, each [.., headDim/2]. */
export function writeAngles(
  cos: Float32Array,
  sin: Float32Array,
  row: number,
  position: number,
  inverseFrequencies: Float64Array,
): void {
  const half = inverseFrequencies.length;
  for (let i = 0; i < half; i++) {
    const angle = position * (inverseFrequencies[i] ?? 0);
    cos[row * half + i] = Math.cos(angle);
    sin[row * half + i] = Math.sin(angle);
  }
}

/** Copies the keys `from` [count, headDim] to `to`, each turned on by `distance` positions. */
export function rotateKeys(
  to: Float32Array,
  from: Float32Array,
  distance: number,
  inverseFrequencies: Float64Array,
): void {
  if (distance === 0) {
    to.set(from);
    return;
  }
  const half = inverseFrequencies.length;
  const headDim = 2 * half;
  const cos = inverseFrequencies.map((f) => Math.cos(distance * f));
  const sin = inverseFrequencies.map((f) => Math.sin(distance * f));
  for (let at = 0; at < from.length; at += headDim) {
    for (let i = 0; i < half; i++) {
      const a = from[at + i] ?? 0;
      const b = from[at + half + i] ?? 0;
      const c = cos[i] ?? 0;
      const s = sin[i] ?? 0;
      to[at + i] = a * c - b * s;
      to[at + half + i] = a * s + b * c;
    }
  }
}
