import { join } from "node:path";
import { tokenText } from "../checkpoint/eos.ts";
import { isJsonObject, type JsonObject, readJsonFile } from "../checkpoint/json-file.ts";
import { ModelError } from "../checkpoint/model-error.ts";
import { readRegularFile } from "../checkpoint/regular-file.ts";

/** A model's chat template as it lies in its files, not compiled yet. */
export interface TemplateFile {
  /** Where it was found, for messages. */
  file: string;
  /** Jinja. */
  source: string;
  /** The one to use where tools are offered, of models that have two. */
  sourceWithTools: string;
  /** What the template may write by name: bos_token, eos_token and the like. */
  specialTokens: Readonly<Record<string, string | string[]>>;
}

const tokenNames = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/** The longest known chat template takes 20 KB. */
const mostBytes = 2 ** 20;

/**
 * Finds the chat template of a Hugging Face directory: `chat_template.jinja`, or else `chat_template` in
 * tokenizer_config.json, which is one template or a list of named ones ("default", "tool_use").
 *
 * Throws ModelError, with the files that were looked at, when there is none.
 */
export function readTemplateFile(dir: string): TemplateFile {
  const configFile = join(dir, "tokenizer_config.json");
  const config = readJsonFile(configFile) ?? {};
  const specialTokens = readSpecialTokens(config);
  const jinjaFile = join(dir, "chat_template.jinja");
  const jinja = readRegularFile(jinjaFile, mostBytes);
  // As in transformers, the file wins.
  if (jinja !== undefined) return { file: jinjaFile, source: jinja, sourceWithTools: jinja, specialTokens };

  const templates = namedTemplates(configFile, config.chat_template);
  const source = templates.get("default") ?? templates.values().next().value;
  if (source !== undefined) {
    return { file: configFile, source, sourceWithTools: templates.get("tool_use") ?? source, specialTokens };
  }
  throw new ModelError(
    dir,
    "has no chat template: there is no chat_template.jinja, and tokenizer_config.json has no chat_template",
    "Use the chat or instruct version of the model, or put its chat_template.jinja there; over gRPC, ids need none",
  );
}

function namedTemplates(file: string, value: unknown): Map<string, string> {
  if (value === undefined || value === null) return new Map();
  if (typeof value === "string") return new Map([["default", value]]);
  const listed: unknown[] = Array.isArray(value) ? value : [value];
  return new Map(
    listed.map((entry): [string, string] => {
      if (isJsonObject(entry) && typeof entry.name === "string" && typeof entry.template === "string") {
        return [entry.name, entry.template];
      }
      const what = `chat_template holds ${JSON.stringify(entry).slice(0, 80)}, not a template with its name`;
      throw new ModelError(file, what, "Correct it or download it again");
    }),
  );
}

function readSpecialTokens(config: JsonObject): Record<string, string | string[]> {
  const tokens: Record<string, string | string[]> = {};
  for (const name of tokenNames) {
    const text = tokenText(config[name]);
    if (text !== undefined) tokens[name] = text;
  }
  const additional: unknown = config.additional_special_tokens;
  if (Array.isArray(additional)) {
    tokens.additional_special_tokens = additional.map(tokenText).filter((text) => text !== undefined);
  }
  return tokens;
}
