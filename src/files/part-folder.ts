/** Folders that are written beside their place and renamed into it when they are whole. */

import { mkdirSync, renameSync, rmSync } from "node:fs";
import { publish } from "./atomic-file.ts";
import { codeOf } from "./file-error.ts";
import { partPath } from "./part.ts";

/** Makes a folder beside `target`, for this user alone. */
export function newPartFolder(target: string): string {
  const part = partPath(target);
  mkdirSync(part, { mode: 0o700 });
  return part;
}

/**
 * Renames the finished `part` to `target`. Where another process was faster, its folder stays, and what `existing`
 * reads in it is returned. A folder that can't be used (`existing` gives undefined) is replaced.
 */
export function publishFolder<T>(part: string, target: string, existing: () => T | undefined): T | undefined {
  try {
    publish(part, target);
  } catch (error) {
    if (!["ENOTEMPTY", "EEXIST", "ENOTDIR"].includes(codeOf(error) ?? "")) throw error;
    const other = existing();
    if (other !== undefined) return other;
    const aside = partPath(target);
    renameSync(target, aside);
    publish(part, target);
    rmSync(aside, { recursive: true, force: true });
  }
  return undefined;
}
