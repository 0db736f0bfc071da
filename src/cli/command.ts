import { type ArgsDef, type CommandContext, type CommandDef, defineCittyPlugin, defineCommand } from "citty";
import { didYouMean } from "./did-you-mean.ts";
import { type ExitCode, UsageError } from "./exit.ts";

export interface CommandSpec<T extends ArgsDef> {
  name: string;
  /** One sentence. */
  description: string;
  /**
   * Option names in kebab case, as they are typed. A positional whose name ends in "..." may be given several times:
   * all are in `args._`.
   */
  args: T;
  /** Shell lines, without `kakeya` in front, each of which runs as it stands. */
  examples: readonly string[];
  /** Returns the exit code; nothing means 0. Import what is heavy inside, so that `--help` stays fast. */
  run(context: CommandContext<T>): ExitCode | undefined | Promise<ExitCode | undefined>;
}

/** A subcommand as the command tree holds it. */
export interface Command {
  readonly definition: CommandDef;
  readonly examples: readonly string[];
}

/** Defines a subcommand that refuses unknown options, options without their value and surplus arguments. */
export function command<const T extends ArgsDef>(spec: CommandSpec<T>): Command {
  const { name, description, args, run } = spec;
  const definition = defineCommand({ meta: { name, description }, args, plugins: [strict], run });
  // The options' types matter inside `run` alone; the command tree treats all commands alike.
  return { definition: definition as unknown as CommandDef, examples: spec.examples };
}

/** citty accepts unknown options, surplus arguments, options without their value and `--no-` before anything. */
const strict = defineCittyPlugin({
  name: "strict",
  setup({ args, cmd }) {
    const options = Object.entries((cmd.args ?? {}) as ArgsDef);
    const known = new Set(["_", ...options.flatMap(([name, option]) => [name, camel(name), ...aliases(option)])]);
    for (const [key, value] of Object.entries(args)) {
      if (known.has(key)) continue;
      const spelled = spelling(key, value);
      throw new UsageError(`unknown option ${spelled}${didYouMean(spelled, options.flatMap(spellings))}`);
    }
    for (const [name, option] of options) {
      if (option.type === "boolean" || option.type === "positional") continue;
      if (args[name] === false) throw new UsageError(`unknown option --no-${name}`);
      if (args[name] === "") throw new UsageError(`option --${name} needs a value`);
    }
    const places = options.flatMap(([name, option]) => (option.type === "positional" ? [name] : []));
    const takesMore = places.at(-1)?.endsWith("...") ?? false;
    if (args._.length > places.length && !takesMore)
      throw new UsageError(`unexpected argument "${args._[places.length]}"`);
  },
});

/** The ways an option can be typed, dashes included. */
function spellings([name, option]: [string, ArgsDef[string]]): string[] {
  if (option.type === "positional") return [];
  return option.type === "boolean" ? [`--${name}`, `--no-${name}`] : [`--${name}`];
}

function aliases(option: ArgsDef[string]): string[] {
  return "alias" in option && option.alias !== undefined ? [option.alias].flat() : [];
}

function camel(name: string): string {
  return name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}

function spelling(key: string, value: unknown): string {
  if (key.length === 1) return `-${key}`;
  return value === false ? `--no-${key}` : `--${key}`;
}
