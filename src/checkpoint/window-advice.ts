import { join } from "node:path";
import { JsonFields, readJsonFile } from "./json-file.ts";

/**
 * The windows that suit a model, by its config.json. A model made for kakeya names them:
 *
 *     "kakeya": {"default_window": 64, "least_window": 16, "most_window": 256}
 *
 * For any other, the largest is the context that the model was made for (max_position_embeddings).
 */
export interface WindowAdvice {
  /** Tokens; for when nothing is chosen. */
  default: number;
  /** What the model was trained on, in tokens. */
  least: number;
  most: number;
}

/** Long enough for a conversation to be remembered, short enough for a few sessions of a small model. */
const usualWindow = 1024;

/** Throws ModelError for a field that is not a positive integer. */
export function readWindowAdvice(dir: string): WindowAdvice {
  const file = join(dir, "config.json");
  const config = new JsonFields(file, readJsonFile(file) ?? {});
  const own = config.object("kakeya") ?? new JsonFields(file, {});
  const context = config.count("max_position_embeddings", Number.MAX_SAFE_INTEGER);
  const most = own.count("most_window", context);
  return {
    default: own.count("default_window", Math.min(usualWindow, most)),
    least: own.count("least_window", 1),
    most,
  };
}

/** A warning for a window that the model was not trained on; undefined for one that it was. */
export function windowWarning(dir: string, window: number): string | undefined {
  const { least, most } = readWindowAdvice(dir);
  if (window >= least && window <= most) return undefined;
  const range = least === 1 ? `at most ${most}` : `${least} to ${most}`;
  return `--window ${window} is outside of what the model was trained on, ${range} tokens: its text may break. Take --window ${window < least ? least : most}`;
}
