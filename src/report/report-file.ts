/** Reports as files: read with validation, and their text. */

import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Report, ReportV2 } from "./report.ts";
import { checkedReport } from "./schema.ts";

/** Thrown for a file that is missing, is not JSON, or is not a report; the message names the file and the field. */
export class ReportFileError extends Error {
  override name = "ReportFileError";
}

/** @param path "-" is the standard input */
export async function readReport(path: string): Promise<Report> {
  let value: unknown;
  try {
    value = await (path === "-" ? Bun.stdin : Bun.file(path)).json();
  } catch (cause) {
    if (cause instanceof SyntaxError) throw new ReportFileError(`${path}: not JSON: ${cause.message}`, { cause });
    throw new ReportFileError(`can't read ${path}: ${messageOf(cause)}`, { cause });
  }
  try {
    return checkedReport(value);
  } catch (cause) {
    throw new ReportFileError(`${path}: ${messageOf(cause)}`, { cause });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The JSON file in a folder that was written last; null when there is none. */
export function latestReport(folder: string): string | null {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return null;
  }
  const files = names.filter((name) => name.endsWith(".json")).map((name) => join(folder, name));
  return files.toSorted((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0] ?? null;
}

/** How many turns become text at once: as one string, those of a very long run would take gigabytes. */
const turnsAtOnce = 1000;

/** The report as JSON, in pieces: its figures first, then its turns, a line each. */
export function* reportText({ turns, ...rest }: ReportV2): Generator<string> {
  yield `${JSON.stringify(rest, null, 1).slice(0, -2)},\n "turns": [`;
  for (let from = 0; from < turns.length; from += turnsAtOnce) {
    const lines = turns.slice(from, from + turnsAtOnce).map((turn) => `\n  ${JSON.stringify(turn)}`);
    yield `${from === 0 ? "" : ","}${lines.join(",")}`;
  }
  yield "\n ]\n}\n";
}
