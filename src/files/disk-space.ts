import { statfsSync } from "node:fs";
import { codeOf, FileError } from "./file-error.ts";

/** Throws FileError when the file system of `dir` has less than `bytes` left for us. */
export function requireFreeSpace(dir: string, bytes: number): void {
  const { bavail, bsize, blocks } = statfsSync(dir);
  const free = bavail * bsize;
  if (blocks === 0 || free >= bytes) return; // Some network file systems report no sizes at all.
  throw full(dir, `the engine file takes ${megabytes(bytes)}, and ${megabytes(free)} are free here`);
}

/** What a failed write under `dir` means to the user; errors of another kind are returned as they are. */
export function describeFileFailure(dir: string, error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof FileError) return error;
  const path = "path" in error && typeof error.path === "string" ? error.path : dir;
  switch (codeOf(error)) {
    case "ENOSPC":
    case "EDQUOT":
    case "EFBIG":
      return full(path, `the disk is full (${error.message})`, error);
    case "EACCES":
    case "EPERM":
    case "EROFS":
    case "ENOTDIR":
    case "EEXIST":
      return new FileError(path, `can't be written (${error.message})`, otherFolder, { cause: error });
    default:
      return error;
  }
}

const otherFolder = "Make it writable, or set KAKEYA_CACHE_DIR to a folder that is";

function full(path: string, problem: string, cause?: Error): FileError {
  return new FileError(path, problem, "Free some space, or set KAKEYA_CACHE_DIR to a folder that has more", { cause });
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
