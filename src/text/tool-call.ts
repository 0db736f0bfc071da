/** A model's request to call a function, in the two formats in common use. */

import { isJsonObject } from "../checkpoint/json-file.ts";
import type { JsonObjectScanner } from "./json-object-scanner.ts";

export interface CalledFunction {
  name: string;
  /** A JSON object, as the model wrote it: parsed and printed again, large numbers would change. */
  arguments: string;
}

/**
 * Reads `{"name": ..., "arguments": {...}}` (Qwen, Hermes) or `{"name": ..., "parameters": {...}}` (Llama 3) from an
 * object that `scanner` has found in `json`. Undefined when it is something else, or not JSON.
 */
export function readToolCall(json: string, scanner: JsonObjectScanner): CalledFunction | undefined {
  const call = parse(json);
  if (!isJsonObject(call) || typeof call.name !== "string" || call.name === "") return undefined;
  const member = ["arguments", "parameters"].find((name) => Object.hasOwn(call, name));
  // Models tend to leave them out for functions without parameters.
  if (member === undefined) return { name: call.name, arguments: "{}" };
  const value = call[member];
  if (isJsonObject(value)) return { name: call.name, arguments: scanner.value(member) ?? JSON.stringify(value) };
  // Some models quote the object once more.
  return typeof value === "string" && isJsonObject(parse(value)) ? { name: call.name, arguments: value } : undefined;
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
