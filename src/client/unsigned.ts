import { InvalidArgument } from "./errors.ts";

/** Returns ids that the wire can carry as uint32. @throws InvalidArgument that names the value that does not fit. */
export function uint32s(field: string, values: Iterable<number>): number[] {
  const list = Array.from(values);
  const at = list.findIndex((value) => !isUint32(value));
  if (at >= 0) throw new InvalidArgument(`${field}[${at}] is ${list[at]}; ids are whole numbers from 0 to 4294967295`);
  return list;
}

export function uint32(field: string, value: number): number {
  if (!isUint32(value))
    throw new InvalidArgument(`${field} is ${value}; it must be a whole number from 0 to 4294967295`);
  return value;
}

export function uint64(field: string, value: bigint | number): bigint {
  const whole = typeof value === "bigint" || Number.isSafeInteger(value) ? BigInt(value) : -1n;
  if (whole < 0n || whole >= 2n ** 64n) {
    throw new InvalidArgument(
      `${field} is ${value}; it must be a whole number from 0 to 2^64 - 1 (a bigint above 2^53)`,
    );
  }
  return whole;
}

function isUint32(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff;
}
