import { FileError } from "../files/file-error.ts";

/** A model's files can't be used as they lie there. */
export class ModelError extends FileError {
  override name = "ModelError";
}

/** A file of the model was written to while it was served, or its engine file built: it is of two models now. */
export class ModelChanged extends ModelError {
  override name = "ModelChanged";

  constructor(file: string) {
    super(file, "was changed while it was in use", "Put the model's own file in its place and start again");
  }
}
