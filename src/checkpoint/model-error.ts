/** A model's files can't be used as they lie there. The message names the file, what is wrong in it, and what to do. */
export class ModelError extends Error {
  override name = "ModelError";

  constructor(file: string, problem: string, remedy: string, options?: ErrorOptions) {
    super(`${file}: ${problem}. ${remedy}.`, options);
  }
}
