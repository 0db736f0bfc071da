import { FileError } from "../files/file-error.ts";

/** A model's files can't be used as they are. */
export class ModelError extends FileError {
  override name = "ModelError";
}

/**
 * A file of the model changed while the model was served, or while its engine file was built: it may mix two models.
 */
export class ModelChanged extends ModelError {
  override name = "ModelChanged";

  constructor(file: string) {
    super(file, "was changed while it was in use", "Put the model's own file in its place and start again");
  }
}
