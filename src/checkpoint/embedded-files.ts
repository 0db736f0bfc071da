import type { EmbeddedFile } from "../cache/unpack.ts";

export interface EmbeddedModel {
  name: string;
  files: readonly EmbeddedFile[];
}

/** Undefined when run from source. The build puts the model's files in the executable and their list here. */
export const embeddedModel: EmbeddedModel | undefined = undefined;
