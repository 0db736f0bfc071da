import { escaped } from "../cli/plain-text.ts";

export const logLevels = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof logLevels)[number];

export const logFormats = ["text", "json"] as const;
export type LogFormat = (typeof logFormats)[number];

export type LogFields = Record<string, string | number | boolean | undefined>;

/** One line for each message; fields in snake_case, with units in their names. */
export type Log = Record<LogLevel, (message: string, fields?: LogFields) => void>;

export interface LogOptions {
  level: LogLevel;
  format: LogFormat;
  write: (line: string) => void;
  /** Wall clock. */
  now: () => Date;
}

export function createLog({ level, format, write, now }: LogOptions): Log {
  const lowest = logLevels.indexOf(level);
  const line = format === "json" ? jsonLine : textLine;
  const at = (own: LogLevel) => (message: string, fields?: LogFields) => {
    if (logLevels.indexOf(own) >= lowest) write(`${escaped(line(now(), own, message, rounded(fields)))}\n`);
  };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

function jsonLine(time: Date, level: LogLevel, message: string, fields?: LogFields): string {
  return JSON.stringify({ time: time.toISOString(), level, message, ...fields });
}

/** Durations are measured to more digits than anyone reads. */
function rounded(fields: LogFields = {}): LogFields {
  const entries = Object.entries(fields).map(([name, value]) => {
    const isFraction = typeof value === "number" && !Number.isInteger(value);
    return [name, isFraction ? Number(value.toPrecision(4)) : value];
  });
  return Object.fromEntries(entries);
}

function textLine(time: Date, level: LogLevel, message: string, fields: LogFields = {}): string {
  const shown = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}=${typeof value === "string" ? JSON.stringify(value) : value}`);
  return `${time.toISOString()} ${level} ${message}${shown.join("")}`;
}
