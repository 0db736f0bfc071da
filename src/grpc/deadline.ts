import { longestDelayMs } from "../host/within.ts";

/** Longer timeouts wrap around in grpc-js, and end in the past. */
const longest = `${Math.floor(longestDelayMs / 1000)}S`;

const msOfUnit: Record<string, number> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** A `grpc-timeout` that timers can hold: the same, or the longest one. */
export function boundedTimeout(timeout: string): string {
  const [, digits, unit] = /^(\d{1,8})([HMSmun])$/.exec(timeout) ?? [];
  if (digits === undefined || unit === undefined) return timeout;
  return Number(digits) * (msOfUnit[unit] ?? 0) > longestDelayMs ? longest : timeout;
}
