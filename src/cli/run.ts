import { stripVTControlCharacters } from "node:util";
import { type CommandDef, type CommandMeta, runCommand, type SubCommandsDef } from "citty";
import type { Command } from "./command.ts";
import { didYouMean } from "./did-you-mean.ts";
import { type ExitCode, exit, UsageError } from "./exit.ts";
import { flushed, print, say } from "./output.ts";
import { plainLines } from "./plain-text.ts";
import { helpPage } from "./usage.ts";

export interface Program {
  name: string;
  version: string;
  description: string;
  /** Loaded when named, and all of them for the page of `--help`. */
  commands: Record<string, () => Promise<Command>>;
}

/** Runs one command line and returns the exit code once all output has left. Never throws. */
export async function run(program: Program, argv: readonly string[]): Promise<ExitCode> {
  const code = await dispatch(program, argv).catch((error) => explain(program, argv[0], error));
  return flushed().then(
    () => code,
    (error) => explain(program, argv[0], error),
  );
}

async function dispatch(program: Program, [first, ...rest]: readonly string[]): Promise<ExitCode> {
  switch (first) {
    case undefined:
      say(await helpPage(await root(program)));
      return exit.usage;
    case "version":
    case "--version":
    case "-v":
    case "-V":
      if (rest.length > 0) throw new UsageError(`unexpected argument "${rest[0]}"`);
      print(program.version);
      return exit.done;
    case "help":
    case "--help":
    case "-h":
      print(await helpFor(program, rest));
      return exit.done;
  }
  const command = await commandNamed(program, first);
  if (!asksForHelp(rest)) return runOne(command, rest);
  print(await helpOf(command, program.name, rest));
  return exit.done;
}

const builtIn = {
  help: "Print this page, or the page of a command.",
  version: "Print the version.",
};

async function commandNamed({ commands }: Program, name: string): Promise<Command> {
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (load !== undefined) return load();
  const isOption = name.startsWith("-");
  const known = isOption ? ["--help", "--version"] : [...Object.keys(commands), ...Object.keys(builtIn)];
  throw new UsageError(`unknown ${isOption ? "option" : "command"} ${name}${didYouMean(name, known)}`);
}

async function runOne(command: Command, rawArgs: string[]): Promise<ExitCode> {
  const [name] = rawArgs;
  const below = Object.keys(await commandsBelow(command));
  if (name !== undefined && !name.startsWith("-") && below.length > 0 && !below.includes(name)) {
    throw new UsageError(`unknown command ${name}${didYouMean(name, below)}`);
  }
  const { result } = await runCommand(command.definition, { rawArgs });
  return (result as ExitCode | undefined) ?? exit.done;
}

/** The page that `help` prints: the program's own, or that of the command that `names` leads to. */
async function helpFor(program: Program, names: string[]): Promise<string> {
  const [name, ...below] = names.filter((word) => !helpFlags.includes(word));
  return name === undefined
    ? helpPage(await root(program))
    : helpOf(await commandNamed(program, name), program.name, below);
}

/** The page of the command, or of the one below it that `args` names. */
async function helpOf(command: Command, programName: string, [name]: string[]): Promise<string> {
  const below = await commandsBelow(command);
  const named = name !== undefined && Object.hasOwn(below, name) ? await below[name] : undefined;
  if (typeof named !== "object") return helpPage(command, { meta: { name: programName } });
  const { name: commandName } = (await command.definition.meta) as CommandMeta;
  return helpPage({ definition: named, examples: [] }, { meta: { name: `${programName} ${commandName}` } });
}

async function commandsBelow({ definition }: Command): Promise<SubCommandsDef> {
  const below = await definition.subCommands;
  return typeof below === "object" ? below : {};
}

const helpFlags = ["--help", "-h"];

/** `--help` before any `--`. */
function asksForHelp(args: string[]): boolean {
  const own = args.includes("--") ? args.slice(0, args.indexOf("--")) : args;
  return helpFlags.some((flag) => own.includes(flag));
}

async function root(program: Program): Promise<Command> {
  const commands = Object.entries(program.commands).map(async ([name, load]) => [name, (await load()).definition]);
  const others = Object.entries(builtIn).map(([name, description]) => [name, { meta: { name, description } }]);
  const subCommands: Record<string, CommandDef> = Object.fromEntries([...(await Promise.all(commands)), ...others]);
  const { name, version, description } = program;
  return { definition: { meta: { name, version, description }, subCommands }, examples: [] };
}

function explain(program: Program, first: string | undefined, error: unknown): ExitCode {
  const message = error instanceof Error ? error.message : String(error);
  say(`${program.name}: ${plainLines(stripVTControlCharacters(message))}`);
  const isUsage = error instanceof UsageError || (error instanceof Error && error.name === "CLIError");
  if (!isUsage) {
    if (process.env.KAKEYA_DEBUG && error instanceof Error) say(error.stack ?? "");
    return exit.failure;
  }
  const known = first !== undefined && Object.hasOwn(program.commands, first);
  say(`see ${program.name} ${known ? `${first} ` : ""}--help`);
  return exit.usage;
}
