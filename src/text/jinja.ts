import { Environment, Interpreter, Template } from "@huggingface/jinja";
import { strftime } from "./strftime.ts";

/**
 * A template, ready to be rendered with its variables. Throws what the template itself raises, and errors in the
 * template.
 */
export type CompiledTemplate = (variables: Readonly<Record<string, unknown>>, now: Date) => string;

/**
 * Compiles a chat template to render as transformers renders it: blocks trimmed, `raise_exception`, `strftime_now`,
 * `range` and `tojson` at hand, and whatever is not among the variables undefined.
 *
 * @throws SyntaxError when it is not a Jinja template.
 */
export function compileTemplate(source: string): CompiledTemplate {
  const { parsed } = new Template(source);
  callStripWithItsArguments(parsed);
  return (variables, now) => {
    const environment = new Environment();
    const globals = { ...constants, ...functions, strftime_now: (format: string) => strftime(now, format) };
    for (const [name, value] of Object.entries({ ...globals, ...variables })) environment.set(name, value);
    return String(new Interpreter(environment).run(parsed).value);
  };
}

const constants = { true: true, false: false, none: null, True: true, False: false, None: null };

/** Python's names for them can't be written as a name in a template, so no template can mean something else. */
const stripNames = { strip: "str.strip", lstrip: "str.lstrip", rstrip: "str.rstrip" } as const;

const functions = {
  raise_exception(message: unknown): never {
    throw new Error(String(message));
  },
  range(first: number, stop?: number, step = 1): number[] {
    const [from, to] = stop === undefined ? [0, first] : [first, stop];
    if (step === 0) throw new Error("range() step must not be zero");
    return Array.from({ length: Math.max(0, Math.ceil((to - from) / step)) }, (_, i) => from + i * step);
  },
  [stripNames.strip]: (text: string, characters: string) => stripEnd(stripStart(text, characters), characters),
  [stripNames.lstrip]: (text: string, characters: string) => stripStart(text, characters),
  [stripNames.rstrip]: (text: string, characters: string) => stripEnd(text, characters),
};

function stripStart(text: string, characters: string): string {
  let start = 0;
  while (start < text.length && characters.includes(text.charAt(start))) start++;
  return text.slice(start);
}

function stripEnd(text: string, characters: string): string {
  let end = text.length;
  while (end > 0 && characters.includes(text.charAt(end - 1))) end--;
  return text.slice(0, end);
}

/**
 * @huggingface/jinja 0.5.11 ignores the argument of `text.strip("\n")`, `lstrip` and `rstrip` and removes all white
 * space, where Python removes these characters alone; Qwen3's template would lose an answer's indentation. So each
 * such call becomes one of our function, with the text as its first argument.
 */
function callStripWithItsArguments(node: unknown): void {
  if (!isNode(node)) return;
  for (const child of Object.values(node)) callStripWithItsArguments(child);
  const { type, callee, args } = node;
  if (type !== "CallExpression" || !isNode(callee) || !Array.isArray(args) || args.length !== 1) return;
  const method = isNode(callee.property) && callee.computed === false ? callee.property.value : undefined;
  if (method !== "strip" && method !== "lstrip" && method !== "rstrip") return;
  node.callee = { type: "Identifier", value: stripNames[method] };
  node.args = [callee.object, ...args];
}

function isNode(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
