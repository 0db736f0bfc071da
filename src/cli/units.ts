import { UsageError } from "./exit.ts";

const seconds = { "": 1, ms: 0.001, s: 1, m: 60, h: 3600, d: 86_400 };
const bytesOf = { "": 1, B: 1, KB: 1e3, MB: 1e6, GB: 1e9, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

/**
 * Reads an integer option.
 * @param option the option's name without dashes, for the message
 * @throws {UsageError} for anything but a decimal integer from `min` to `max`
 */
export function integer(option: string, text: string, min = 0, max = Number.MAX_SAFE_INTEGER): number {
  const value = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  const range = max === Number.MAX_SAFE_INTEGER ? `of ${min} or more` : `from ${min} to ${max}`;
  throw new UsageError(`--${option} must be an integer ${range}, not "${text}"`);
}

/**
 * Reads an option that is a number, perhaps with a fraction.
 * @throws {UsageError} for anything else than a decimal number from `min` to `max`
 */
export function decimal(option: string, text: string, min: number, max: number): number {
  const value = /^[+-]?(\d+\.?\d*|\.\d+)$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new UsageError(`--${option} must be a number from ${min} to ${max}, not "${text}"`);
}

/**
 * Reads a duration such as `14400`, `4h`, `1h30m`, `30m`, `5s` or `250ms`; a bare number is seconds.
 * @returns seconds
 * @throws {UsageError}
 */
export function duration(option: string, text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|[smhd])/g)];
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
  if (text === "" || parts.map(([part]) => part).join("") !== text) {
    throw new UsageError(`--${option} must be a duration such as 14400 (seconds), 4h, 30m or 1.5s, not "${text}"`);
  }
  return parts.reduce((sum, [, amount, unit]) => sum + Number(amount) * seconds[unit as keyof typeof seconds], 0);
}

/**
 * Reads a size such as `4096`, `64KiB` or `1.5GB`; a bare number is bytes.
 * @returns whole bytes
 * @throws {UsageError}
 */
export function bytes(option: string, text: string): number {
  const [, amount, unit = ""] = text.match(/^(\d+(?:\.\d+)?) ?([KMG]i?B|B)?$/) ?? [];
  if (amount !== undefined) return Math.round(Number(amount) * bytesOf[unit as keyof typeof bytesOf]);
  throw new UsageError(`--${option} must be a size such as 4096 (bytes), 64KiB or 1.5GB, not "${text}"`);
}

/** `14400` becomes `4h`, `5430` `1h30m30s`, `0.25` `0.25s`; `duration` reads it back. */
export function formatDuration(durationS: number): string {
  const whole = Math.floor(durationS / 60);
  const rest = Number((durationS - whole * 60).toPrecision(3));
  const parts = [Math.floor(whole / 60) && `${Math.floor(whole / 60)}h`, whole % 60 && `${whole % 60}m`];
  const text = parts.filter(Boolean).join("");
  return rest === 0 && text !== "" ? text : `${text}${rest}s`;
}

/** `1536` becomes `1.5 KiB`. */
export function formatBytes(count: number): string {
  const names = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(names.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, count)) / 10)));
  return `${Number((count / 2 ** (10 * power)).toPrecision(4))} ${names[power]}`;
}
