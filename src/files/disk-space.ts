import { statfsSync } from "node:fs";
import { codeOf, FileError } from "./file-error.ts";

/** The environment variable that names another folder than `dir`, for messages. */
type FolderSetting = "KAKEYA_CACHE_DIR" | "HF_HUB_CACHE";

/** Throws FileError when the file system of `dir` has less space left for us than the `bytes` that `what` takes. */
export function requireFreeSpace(
  dir: string,
  bytes: number,
  what = "the engine file",
  setting: FolderSetting = "KAKEYA_CACHE_DIR",
): void {
  const { bavail, bsize, blocks } = statfsSync(dir);
  const free = bavail * bsize;
  if (blocks === 0 || free >= bytes) return; // Some network file systems report no sizes at all.
  throw full(dir, setting, `${what} takes ${megabytes(bytes)}, and ${megabytes(free)} are free here`);
}

/** What a failed write under `dir` means to the user; errors of another kind are returned as they are. */
export function describeFileFailure(dir: string, error: unknown, setting: FolderSetting = "KAKEYA_CACHE_DIR"): unknown {
  if (!(error instanceof Error) || error instanceof FileError) return error;
  const path = "path" in error && typeof error.path === "string" ? error.path : dir;
  switch (codeOf(error)) {
    case "ENOSPC":
    case "EDQUOT":
    case "EFBIG":
      return full(path, setting, `the disk is full (${error.message})`, error);
    case "EACCES":
    case "EPERM":
    case "EROFS":
    case "ENOTDIR":
    case "EEXIST":
      return new FileError(
        path,
        `can't be written (${error.message})`,
        `Make it writable, or set ${setting} to a folder that is`,
        { cause: error },
      );
    default:
      return error;
  }
}

function full(path: string, setting: FolderSetting, problem: string, cause?: Error): FileError {
  return new FileError(path, problem, `Free some space, or set ${setting} to a folder that has more`, { cause });
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
