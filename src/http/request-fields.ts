/** Fields that chat completions and responses have in common. */

import { greedy, type Sampling } from "../engine/engine.ts";
import type { Tool } from "../text/messages.ts";
import { ApiError, invalid, unsupported } from "./api-error.ts";
import { Fields, isRecord, shown } from "./fields.ts";

/** Most tokens of an answer where the request sets no limit: some models never end by themselves. */
export const defaultMaxTokens = 4096;

const mostTokens = 2 ** 32 - 1;

export function maxTokensOf(fields: Fields, ...names: string[]): number {
  const given = names.map((name) => fields.integer(name, 1, mostTokens)).filter((value) => value !== undefined);
  return given[0] ?? defaultMaxTokens;
}

export interface SamplingFields {
  sampling: Sampling;
  temperature: number;
  topP: number;
}

/** Temperature and top_p are 1 where the request says nothing, as with OpenAI. `entropy` draws a seed. */
export function samplingOf(fields: Fields, entropy: () => bigint): SamplingFields {
  const temperature = fields.number("temperature", 0, 2) ?? 1;
  const topP = fields.number("top_p", 0, 1) ?? 1;
  if (topP === 0) throw invalid(fields.pathOf("top_p"), "'top_p' must be above 0");
  const given = fields.integer("seed", Number.MIN_SAFE_INTEGER);
  const seed = given === undefined ? entropy() : BigInt.asUintN(64, BigInt(given));
  return { sampling: temperature === 0 ? greedy : { temperature, topK: 0, topP, seed }, temperature, topP };
}

export function requireModel(fields: Fields, served: string): void {
  const model = fields.string("model");
  if (model === undefined || model === served) return;
  const message = `The model '${model.slice(0, 80)}' is not served here; this server has '${served}'.`;
  throw new ApiError(message, { status: 404, param: "model", code: "model_not_found" });
}

/** @param nested whether the function is inside of `function`, as chat completions have it */
export function toolsOf(fields: Fields, nested: boolean): Tool[] {
  const tools = fields.list("tools") ?? [];
  return tools.map((value, index) => {
    const tool = new Fields(value, `tools[${index}]`);
    const type = tool.required("type", tool.string("type"));
    if (type !== "function") throw unsupported(tool.pathOf("type"), `${shown(type)} is no function`);
    const definition = nested ? tool.required("function", tool.object("function")) : tool;
    const name = definition.required("name", definition.string("name"));
    if (name === "") throw invalid(definition.pathOf("name"), `'${definition.pathOf("name")}' is empty`);
    const description = definition.string("description");
    const parameters = definition.record("parameters");
    // The model's output is not forced to follow the schema; the response's tools say `strict: false`.
    definition.boolean("strict");
    definition.refuseOthers();
    tool.refuseOthers();
    return {
      name,
      ...(description === undefined ? {} : { description }),
      ...(parameters === undefined ? {} : { parameters }),
    };
  });
}

/** "none" offers no tools. What would force a call is refused: sampling is not constrained. */
export function toolChoiceOf(fields: Fields): "auto" | "none" {
  const choice = fields.take("tool_choice") ?? "auto";
  if (choice === "auto" || choice === "none") return choice;
  if (choice === "required" || isRecord(choice)) {
    throw unsupported("tool_choice", "the model can't be forced to call a function; give 'auto' or 'none'");
  }
  throw invalid("tool_choice", `'tool_choice' must be 'auto' or 'none', not ${shown(choice)}`);
}

/** Up to 16 pairs of strings, kept as they are. */
export function metadataOf(fields: Fields): Record<string, string> {
  const given = fields.record("metadata") ?? {};
  const pairs = Object.entries(given);
  if (pairs.length > 16) throw invalid("metadata", `'metadata' holds ${pairs.length} pairs; at most 16 are kept`);
  return Object.fromEntries(
    pairs.map(([name, value]) => {
      const fits = typeof value === "string" && value.length <= 512 && name.length <= 64;
      if (fits) return [name, value];
      const param = `metadata.${name.slice(0, 64)}`;
      throw invalid(param, "metadata holds names of up to 64 characters and strings of up to 512");
    }),
  );
}

/** Variables of the model's template, as vLLM and llama.cpp take them: `{"enable_thinking": false}`. */
export function templateVariablesOf(fields: Fields): Record<string, unknown> {
  return fields.record("chat_template_kwargs") ?? {};
}

/** Fields that change an answer only if they are not at their defaults. */
export function requireNeutral(fields: Fields, neutral: Readonly<Record<string, readonly unknown[]>>): void {
  for (const [name, values] of Object.entries(neutral)) {
    const value = fields.take(name);
    if (value === undefined || values.some((allowed) => Bun.deepEquals(allowed, value))) continue;
    const words = values.length === 0 ? "leave it out" : `leave it out, or give ${values.map(shown).join(" or ")}`;
    throw unsupported(fields.pathOf(name), words);
  }
}

/** Fields that tell OpenAI's own servers how to bill, what to cache and whom to watch. */
export const withoutEffect = [
  "user",
  "safety_identifier",
  "prompt_cache_key",
  "prompt_cache_retention",
  "prompt_cache_options",
];

/** Text, or a list of text parts, of the given types. */
export function textOf(value: unknown, param: string, types: readonly string[]): string {
  if (typeof value === "string") return value;
  if (!Array.isArray(value))
    throw invalid(param, `'${param}' must be a string or a list of parts, not ${shown(value)}`);
  return value
    .map((part: unknown, index) => {
      const fields = new Fields(part, `${param}[${index}]`);
      const type = fields.required("type", fields.string("type"));
      if (!types.includes(type)) {
        throw unsupported(fields.pathOf("type"), `the model reads text only, not ${shown(type)}`);
      }
      const text = fields.required("text", fields.string("text"));
      fields.ignore("annotations", "logprobs");
      fields.refuseOthers();
      return text;
    })
    .join("");
}
