/** Seeded pseudo-random numbers for weights: fast, reproducible, and of no other quality. */

/** A seed for one name, so that a tensor's values don't depend on what was written before it (FNV-1a). */
export function seedOf(seed: number, name: string): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** Returns a source of values with this mean and standard deviation (the sum of two uniforms; xorshift32). */
export function randomValues(seed: number, mean: number, deviation: number): (count: number) => Float32Array {
  let state = seed === 0 ? 1 : seed | 0;
  // Two uniforms of 16 bits, from -32768 to 32767: their sum has a deviation of 65536 / sqrt(6).
  const scale = (deviation * Math.sqrt(6)) / 65536;
  return (count) => {
    const values = new Float32Array(count);
    for (let i = 0; i < count; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      values[i] = mean + ((state >> 16) + ((state << 16) >> 16) + 1) * scale;
    }
    return values;
  };
}

/** The IEEE half nearest to `value`, for values of normal halves' size; smaller ones become 0. */
export function float16Bits(value: number): number {
  const magnitude = Math.abs(value);
  const sign = value < 0 ? 0x8000 : 0;
  if (magnitude < 2 ** -14) return sign;
  const exponent = Math.floor(Math.log2(magnitude));
  // A mantissa that rounds up to 1024 carries into the exponent, which is right.
  return sign | (((exponent + 15) << 10) + Math.round((magnitude / 2 ** exponent - 1) * 1024));
}

/**
 * Returns a source of values with heavy tails, as trained weights have them: Student's t with 5 degrees of freedom, a
 * variance of 1.
 */
export function heavyTailed(seed: number): (count: number) => Float32Array {
  const degrees = 5;
  const draw = randomValues(seed, 0, 1);
  const normal = (count: number) => {
    // The sum of three draws is nearer to a normal distribution than one.
    const values = draw(3 * count);
    return Float32Array.from({ length: count }, (_, i) => {
      return ((values[3 * i] ?? 0) + (values[3 * i + 1] ?? 0) + (values[3 * i + 2] ?? 0)) / Math.sqrt(3);
    });
  };
  return (count) => {
    const squares = normal(degrees * count).map((value) => value ** 2);
    const variance = degrees / (degrees - 2);
    return normal(count).map((value, i) => {
      const chiSquared = squares.subarray(i * degrees, (i + 1) * degrees).reduce((a, b) => a + b);
      return value / Math.sqrt((chiSquared / degrees) * variance);
    });
  };
}
