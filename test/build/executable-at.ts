import { copyFileSync } from "node:fs";
import { buildExecutable, type Platform } from "../../build/executable.ts";

/** This machine's. */
export const platform = `${process.platform}-${process.arch}` as Platform;

/** Puts this machine's executable there: the one that the whole run has just built, or one that is built for it. */
export async function executableAt(path: string): Promise<void> {
  if (process.env.KAKEYA_TEST_EXECUTABLE) copyFileSync(process.env.KAKEYA_TEST_EXECUTABLE, path);
  else await buildExecutable(platform, path);
}
