import { FileError } from "../files/file-error.ts";

/** A model's files can't be used as they lie there. */
export class ModelError extends FileError {
  override name = "ModelError";
}

/** A file of the model that is being served was changed: what it says now belongs to no session. */
export class ModelChanged extends ModelError {
  override name = "ModelChanged";

  constructor(file: string) {
    super(file, "was changed while it was being served", "Put the model's own file in its place and start again");
  }
}
