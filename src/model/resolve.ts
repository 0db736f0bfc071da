export interface ResolvedModel {
  /** Directory of the Hugging Face checkpoint. */
  dir: string;
  /** The name it was asked for by. */
  modelId: string;
}

export function resolveModel(idOrPath: string | undefined, env: Readonly<Record<string, string | undefined>>): ResolvedModel {
  throw new Error(`not built yet: ${idOrPath} ${env}`);
}
