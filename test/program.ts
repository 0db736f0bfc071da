import { join } from "node:path";

/**
 * The command that tests start as `kakeya`: the executable that the whole run has just built, as people get it, which
 * starts in a tenth of the time; the sources when files are tested alone.
 */
export const kakeya: readonly string[] = process.env.KAKEYA_TEST_EXECUTABLE
  ? [process.env.KAKEYA_TEST_EXECUTABLE]
  : [process.execPath, join(import.meta.dir, "../src/main.ts")];
