/** The number formats of checkpoints, as float32. All are little-endian. */

export type TensorDtype = "BF16" | "F16" | "F32";

export const dtypeBytes: Readonly<Record<TensorDtype, number>> = { BF16: 2, F16: 2, F32: 4 };

/** Converts `bytes` (out.length elements of `dtype`, on a 4-byte boundary) to float32. */
export function toFloat32(dtype: TensorDtype, bytes: Uint8Array, out: Float32Array): void {
  if (dtype === "F32") {
    out.set(new Float32Array(bytes.buffer, bytes.byteOffset, out.length));
    return;
  }
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, out.length);
  const words = new Uint32Array(out.buffer, out.byteOffset, out.length);
  if (dtype === "BF16") bfloat16(halves, words);
  else float16(halves, words);
}

/** bfloat16 is the upper half of a float32. */
function bfloat16(halves: Uint16Array, words: Uint32Array): void {
  for (let i = 0; i < words.length; i++) words[i] = (halves[i] ?? 0) << 16;
}

/** The float32 bits of every IEEE half, made at first use (256 KB): a lookup is the fastest way in JavaScript. */
let float16Words: Uint32Array | undefined;

function float16(halves: Uint16Array, words: Uint32Array): void {
  float16Words ??= Uint32Array.from({ length: 1 << 16 }, (_, half) => float16Word(half));
  const table = float16Words;
  for (let i = 0; i < words.length; i++) words[i] = table[halves[i] ?? 0] ?? 0;
}

function float16Word(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >> 10) & 31;
  const mantissa = half & 1023;
  if (exponent === 31) return sign | 0x7f800000 | (mantissa << 13);
  if (exponent > 0) return sign | ((exponent + 112) << 23) | (mantissa << 13);
  if (mantissa === 0) return sign;
  // A subnormal half is mantissa * 2^-24, which is a normal float32: move its highest bit to the implicit one.
  const highest = 31 - Math.clz32(mantissa);
  return sign | ((highest + 103) << 23) | ((mantissa << (23 - highest)) & 0x7fffff);
}
