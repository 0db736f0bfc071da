import { openSync } from "node:fs";

/** Opens a file for lines that are added to what is there. Answers with its descriptor. @throws Error that names it */
export function openForAppending(path: string): number {
  try {
    return openSync(path, "a");
  } catch (cause) {
    throw new Error(`can't write ${path}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}
