import type { Environment } from "../checkpoint/hub-cache.ts";
import { resolveModel } from "../checkpoint/resolve.ts";

/**
 * Where on this machine the tokenizer and the chat template of a server's model are: in `asked`, a directory or a
 * Hugging Face id; without it, in the model of the name that the server gives it.
 *
 * Throws ModelError when there is no such model here.
 */
export function servedModelDir(servedId: string, asked: string | undefined, env: Environment): string {
  if (asked !== undefined) return resolveModel(asked, env).dir;
  const embedded = resolveModel(undefined, env);
  return servedId === embedded.modelId ? embedded.dir : resolveModel(servedId, env).dir;
}
