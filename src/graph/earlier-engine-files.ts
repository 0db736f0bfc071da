import { readdirSync, renameSync, rmSync, statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { partPath } from "../files/part.ts";
import { readGraphVersion } from "./engine-manifest.ts";
import { graphVersion } from "./graph.ts";

/** A folder that was made or used this recently may belong to a process that is about to open its files. */
const openingMs = 600_000;

/** Notes that a process takes the engine file in `dir`. A cache that can't be written to needs no note. */
export function noteUse(dir: string): void {
  const now = new Date();
  quietly(() => utimesSync(dir, now, now));
}

/**
 * Removes the engine files that earlier versions of kakeya built in `enginesDir`. A running process of such a version
 * keeps what it has mapped; at its next start it builds its engine file again.
 */
export function removeEarlierEngineFiles(enginesDir: string, nowMs = Date.now()): void {
  for (const name of readdirSync(enginesDir)) {
    const dir = join(enginesDir, name);
    const version = readGraphVersion(dir);
    if (version === undefined || version >= Number(graphVersion)) continue;
    if (nowMs - (statSync(dir, { throwIfNoEntry: false })?.mtimeMs ?? nowMs) < openingMs) continue;
    quietly(() => {
      const aside = partPath(dir); // anyone who looks meanwhile finds it whole or gone
      renameSync(dir, aside);
      rmSync(aside, { recursive: true, force: true });
    });
  }
}

/** Another process may be doing the same, and what is not ours to remove takes space and does no other harm. */
function quietly(work: () => void): void {
  try {
    work();
  } catch {}
}
