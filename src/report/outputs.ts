/** Where reports and pages may be written: over others of their kind, and over other files only if forced. */

import { UsageError } from "../cli/exit.ts";
import { type Destination, type DestinationRules, destination } from "../files/destination.ts";
import { FileError } from "../files/file-error.ts";
import { pageGenerator, reportKind } from "./report.ts";

export interface OutputRules extends Omit<DestinationRules, "isOurs"> {
  /** Whether the user chose the path: then an error in it is an error of the command line. */
  chosen: boolean;
}

/** @throws UsageError, or FileError where the path was not chosen */
export function reportDestination(path: string, rules: OutputRules): Destination {
  return outputDestination(path, rules, (head) => reportStart.test(head));
}

const reportStart = new RegExp(`^\\s*\\{\\s*"schema_version":\\s*\\d+,\\s*"kind":\\s*"${reportKind}"`);

/** @throws UsageError, or FileError where the path was not chosen */
export function pageDestination(path: string, rules: OutputRules): Destination {
  return outputDestination(
    path,
    rules,
    (head) => head.startsWith("<!doctype html>") && pageMarks.some((mark) => head.includes(mark)),
  );
}

/** Pages of earlier versions have a title, and don't name what generated them. */
const pageMarks = [`<meta name="generator" content="${pageGenerator}">`, "\n<title>kakeya bench: "];

/** For a log, whose lines are added to what is there. @throws UsageError, or FileError where it was not chosen */
export function logDestination(path: string, rules: OutputRules): Destination {
  return outputDestination(path, rules, () => true);
}

/** @throws UsageError, or FileError where the path was not chosen */
export function outputDestination(
  path: string,
  { chosen, ...rules }: OutputRules,
  isOurs: DestinationRules["isOurs"],
): Destination {
  try {
    return destination(path, { ...rules, isOurs });
  } catch (error) {
    if (chosen && error instanceof FileError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}
