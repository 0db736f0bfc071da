import { spawnSync } from "node:child_process";

/**
 * The revision of the sources this runs from, with "-dirty" when tracked files differ from it; null where that is
 * unknown. A build sets KAKEYA_COMMIT.
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
