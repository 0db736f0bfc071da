import * as fs from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";

type Env = Record<string, string | undefined>;

/** Folders where kakeya may keep what it can make again, in order of preference. The first usable one wins. */
export function cacheRoots(env: Env = process.env, platform: string = process.platform): string[] {
  // A folder that the user names is used or refused, never silently replaced.
  if (env.KAKEYA_CACHE_DIR) return [env.KAKEYA_CACHE_DIR];
  const user = `kakeya-${process.getuid?.() ?? "user"}`;
  const home = env.HOME || homedir();
  return [
    env.XDG_CACHE_HOME && join(env.XDG_CACHE_HOME, "kakeya"),
    home && home !== "/" && join(home, ...(platform === "darwin" ? ["Library", "Caches"] : [".cache"]), "kakeya"),
    join(tmpdir(), user),
    platform === "linux" && join("/dev/shm", user),
  ].filter((root): root is string => Boolean(root));
}

/**
 * Creates `dir` and returns it, after making sure that only this user can have filled it.
 * @throws when it can't be created or written, or when somebody else owns it or may write to it.
 */
export function privateDir(dir: string): string {
  fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
  const stat = fs.statSync(dir);
  const uid = process.getuid?.();
  // It may be a link that the system made: systemd's CacheDirectory is one.
  const linkOwners = [uid, 0];
  const foreign =
    uid !== undefined && (stat.uid !== uid || !linkOwners.includes(fs.lstatSync(dir).uid) || (stat.mode & 0o022) !== 0);
  if (!stat.isDirectory() || foreign) throw new Error("not a folder that only this user can write to");
  fs.accessSync(dir, fs.constants.W_OK | fs.constants.X_OK);
  return dir;
}

/**
 * Calls `use` with one cache root after the other until it succeeds.
 * @throws an error that lists what was tried, and why it failed, when every root fails.
 */
export function inFirstUsableRoot<T>(purpose: string, use: (root: string) => T, roots: string[] = cacheRoots()): T {
  const failures: string[] = [];
  for (const root of roots) {
    try {
      return use(privateDir(root));
    } catch (error) {
      failures.push(`  ${root}: ${error instanceof Error ? error.message : error}`);
    }
  }
  throw new Error(
    `cannot ${purpose}; set KAKEYA_CACHE_DIR to a folder that only you can write to, with space and on a file system ` +
      `that allows execution. Tried:\n${failures.join("\n")}`,
  );
}

/** The folder of everything kakeya caches; private to this user. */
export function cacheRoot(): string {
  return inFirstUsableRoot("find a place for the cache", (root) => root);
}
