/** A file or folder can't be used as it is. The message names it, says what is wrong, and what to do. */
export class FileError extends Error {
  override name = "FileError";

  constructor(path: string, problem: string, remedy: string, options?: ErrorOptions) {
    super(`${path}: ${problem}. ${remedy}.`, options);
  }
}

/** The system's code of a failed call, such as "ENOENT". */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}
