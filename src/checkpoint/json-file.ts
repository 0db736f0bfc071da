import { basename } from "node:path";
import { ModelError } from "./model-error.ts";
import { readRegularFile } from "./regular-file.ts";

export type JsonObject = Readonly<Record<string, unknown>>;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The largest tokenizer.json known takes 33 MB, the largest index of shards 9 MB. */
const mostBytes = (path: string) => (basename(path) === "tokenizer.json" ? 128 : 16) * 2 ** 20;

/** The object in a JSON file; undefined when there is no such file. Throws ModelError when it is not a JSON object. */
export function readJsonFile(path: string): JsonObject | undefined {
  const text = readRegularFile(path, mostBytes(path));
  return text === undefined ? undefined : parseJsonObject(path, text);
}

export function parseJsonObject(path: string, text: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ModelError(path, `is not valid JSON (${String(error)})`, "Download the file again", { cause: error });
  }
  if (!isJsonObject(value)) throw new ModelError(path, "is JSON, but not an object", "Download the file again");
  return value;
}

/** Typed access to one object of a JSON file; what doesn't fit is a ModelError that names file and field. */
export class JsonFields {
  constructor(
    readonly file: string,
    readonly values: JsonObject,
    /** Where the object lies in the file, for messages: "" or for example "rope_parameters.". */
    readonly path = "",
  ) {}

  error(field: string, problem: string, remedy: string): ModelError {
    return new ModelError(this.file, `${this.path}${field} ${problem}`, remedy);
  }

  /** Absent and null are the same. */
  has(field: string): boolean {
    return Object.hasOwn(this.values, field) && this.values[field] !== null && this.values[field] !== undefined;
  }

  /** A positive integer. */
  count(field: string, fallback?: number): number {
    const value = this.number(field, fallback);
    if (Number.isSafeInteger(value) && value > 0) return value;
    throw this.error(field, `is ${value}, not a positive integer`, "Correct the file or download it again");
  }

  /** A finite number above zero. */
  positive(field: string, fallback?: number): number {
    const value = this.number(field, fallback);
    if (Number.isFinite(value) && value > 0) return value;
    throw this.error(field, `is ${value}, not a number above 0`, "Correct the file or download it again");
  }

  flag(field: string, fallback: boolean): boolean {
    if (!this.has(field)) return fallback;
    const value = this.values[field];
    if (typeof value === "boolean") return value;
    throw this.error(field, `is ${JSON.stringify(value)}, not true or false`, "Correct the file or download it again");
  }

  text(field: string, fallback: string): string {
    if (!this.has(field)) return fallback;
    const value = this.values[field];
    if (typeof value === "string") return value;
    throw this.error(field, `is ${JSON.stringify(value)}, not a string`, "Correct the file or download it again");
  }

  object(field: string): JsonFields | undefined {
    if (!this.has(field)) return undefined;
    const value = this.values[field];
    if (isJsonObject(value)) return new JsonFields(this.file, value, `${this.path}${field}.`);
    throw this.error(field, `is ${JSON.stringify(value)}, not an object`, "Correct the file or download it again");
  }

  private number(field: string, fallback?: number): number {
    if (!this.has(field)) {
      if (fallback !== undefined) return fallback;
      throw this.error(field, "is missing", "Download the file again; kakeya needs it to build the model");
    }
    const value = this.values[field];
    if (typeof value === "number") return value;
    throw this.error(field, `is ${JSON.stringify(value)}, not a number`, "Correct the file or download it again");
  }
}
