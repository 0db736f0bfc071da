/** What this process is. */

import { spawnSync } from "node:child_process";

/** The command that starts another kakeya: the executable, or bun and the entry file when it runs from sources. */
export function selfCommand(): string[] {
  const isCompiled = /^(\/\$bunfs\/|[A-Z]:[/\\]~BUN[/\\])/.test(Bun.main);
  return isCompiled ? [process.execPath] : [process.execPath, Bun.main];
}

/**
 * The revision of its sources, with "-dirty" when tracked files differ from it; null where that is unknown. A build
 * sets KAKEYA_COMMIT.
 */
export function sourceCommit(): string | null {
  const built = process.env.KAKEYA_COMMIT;
  if (built !== undefined && built !== "") return built;
  const git = spawnSync("git", ["describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"], {
    cwd: import.meta.dirname,
    encoding: "utf8",
  });
  return git.status === 0 ? git.stdout.trim() : null;
}
