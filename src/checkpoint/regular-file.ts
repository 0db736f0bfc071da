import { closeSync, fstatSync, openSync, readFileSync, type Stats, statSync } from "node:fs";
import { ModelError } from "./model-error.ts";

/**
 * Opens a file of a model for reading; undefined when there is none. A FIFO would make us wait for ever, and /dev/zero
 * never ends: so anything but a regular file is refused before it is opened.
 */
function openRegularFile(path: string): number | undefined {
  try {
    if (!statSync(path).isFile()) throw notRegular(path, statSync(path));
    return openSync(path, "r");
  } catch (error) {
    if (error instanceof ModelError) throw error;
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR"))
      return undefined;
    throw new ModelError(path, `can't be read: ${String(error)}`, "Check the file and its permissions", {
      cause: error,
    });
  }
}

/** The same for a file that must exist. */
export function requireRegularFile(path: string): number {
  const fd = openRegularFile(path);
  if (fd !== undefined) return fd;
  throw new ModelError(path, "can't be opened: there is no such file (ENOENT)", "Download it again");
}

/** The text of a model's file of at most `mostBytes`; undefined when there is none. */
export function readRegularFile(path: string, mostBytes: number): string | undefined {
  const fd = openRegularFile(path);
  if (fd === undefined) return undefined;
  try {
    const { size } = fstatSync(fd);
    if (size <= mostBytes) return readFileSync(fd, "utf8");
    const limit = `more than a file of this name has (${mostBytes} at most)`;
    throw new ModelError(path, `takes ${size} bytes, ${limit}`, "Download the file again");
  } finally {
    closeSync(fd);
  }
}

function notRegular(path: string, stats: Stats): ModelError {
  const kinds = { directory: stats.isDirectory(), FIFO: stats.isFIFO(), socket: stats.isSocket() };
  const kind = Object.entries(kinds).find(([, is]) => is)?.[0] ?? "device";
  return new ModelError(path, `is a ${kind}, not a regular file`, "Put the model's own file in its place");
}
