import { ApiError, invalid } from "./api-error.ts";

/** The members of a JSON object, each read once by its type. A member that was not read was not expected. */
export class Fields {
  readonly #values: Map<string, unknown>;

  /** @param path of the object in the request; empty for the request itself */
  constructor(
    value: unknown,
    readonly path = "",
  ) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw invalid(path, `${path === "" ? "the body" : `'${path}'`} must be an object, not ${shown(value)}`);
    }
    // OpenAI takes null for absent.
    this.#values = new Map(Object.entries(value).filter(([, member]) => member !== null));
  }

  pathOf(name: string): string {
    return this.path === "" ? name : `${this.path}.${name}`;
  }

  /** Any value; undefined where there is none. */
  take(name: string): unknown {
    const value = this.#values.get(name);
    this.#values.delete(name);
    return value;
  }

  /** Any value, still to be taken. */
  peek(name: string): unknown {
    return this.#values.get(name);
  }

  string(name: string): string | undefined {
    return this.#typed(name, "a string", (value) => (typeof value === "string" ? value : undefined));
  }

  boolean(name: string): boolean | undefined {
    return this.#typed(name, "true or false", (value) => (typeof value === "boolean" ? value : undefined));
  }

  number(name: string, least: number, most: number): number | undefined {
    const fits = (value: unknown) => typeof value === "number" && value >= least && value <= most;
    return this.#typed(name, `a number from ${least} to ${most}`, (value) => (fits(value) ? Number(value) : undefined));
  }

  integer(name: string, least: number, most = Number.MAX_SAFE_INTEGER): number | undefined {
    const fits = (value: unknown) => Number.isSafeInteger(value) && Number(value) >= least && Number(value) <= most;
    const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
    return this.#typed(name, `an integer ${range}`, (value) => (fits(value) ? Number(value) : undefined));
  }

  list(name: string): unknown[] | undefined {
    return this.#typed(name, "a list", (value) => (Array.isArray(value) ? value : undefined));
  }

  object(name: string): Fields | undefined {
    const value = this.take(name);
    return value === undefined ? undefined : new Fields(value, this.pathOf(name));
  }

  /** A plain object, whatever it holds. */
  record(name: string): Record<string, unknown> | undefined {
    const value = this.take(name);
    if (value === undefined) return undefined;
    if (isRecord(value)) return value;
    throw invalid(this.pathOf(name), `'${this.pathOf(name)}' must be an object, not ${shown(value)}`);
  }

  required<T>(name: string, value: T | undefined): T {
    if (value !== undefined) return value;
    const param = this.pathOf(name);
    throw invalid(param, `Missing required parameter: '${param}'.`, "missing_required_parameter");
  }

  /** Drops fields that can't change an answer here. */
  ignore(...names: string[]): void {
    for (const name of names) this.#values.delete(name);
  }

  /** Names what is set and not known. */
  refuseOthers(): void {
    const [name] = this.#values.keys();
    if (name === undefined) return;
    const param = this.pathOf(name);
    throw new ApiError(`Unknown parameter: '${param}'.`, { status: 400, param, code: "unknown_parameter" });
  }

  #typed<T>(name: string, expected: string, read: (value: unknown) => T | undefined): T | undefined {
    const value = this.take(name);
    if (value === undefined) return undefined;
    const typed = read(value);
    if (typed !== undefined) return typed;
    const param = this.pathOf(name);
    throw invalid(param, `'${param}' must be ${expected}, not ${shown(value)}`, "invalid_type");
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function shown(value: unknown): string {
  if (value === undefined) return "absent";
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 80)}...` : text;
}
