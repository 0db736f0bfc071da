/**
 * Rotary position embedding, half-split convention (element i is rotated with element i + headDim/2), from float64
 * angles, so that position 10,000,000 is as exact as position 10. Source: RoFormer, arXiv 2104.09864.
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

/** The cosines and sines, each [headDim/2], that rotate a key by `distance` positions. */
export interface Rotation {
  readonly distance: number;
  readonly cos: Float64Array;
  readonly sin: Float64Array;
}

export function rotationBy(distance: number, inverseFrequencies: Float64Array): Rotation {
  const angles = inverseFrequencies.map((f) => distance * f);
  return { distance, cos: angles.map(Math.cos), sin: angles.map(Math.sin) };
}

/** Copies the keys `from` [count, headDim] to `to`, each rotated. A distance of 0 changes no bit. */
export function rotateKeys(to: Float32Array, from: Float32Array, { distance, cos, sin }: Rotation): void {
  if (distance === 0) {
    to.set(from);
    return;
  }
  const half = cos.length;
  for (let at = 0; at < from.length; at += 2 * half) {
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
