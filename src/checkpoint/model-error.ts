import { FileError } from "../files/file-error.ts";

/** A model's files can't be used as they lie there. */
export class ModelError extends FileError {
  override name = "ModelError";
}
