import { stripVTControlCharacters } from "node:util";
import { type CommandDef, type CommandMeta, runCommand } from "citty";
import type { Command } from "./command.ts";
import { type ExitCode, exit, UsageError } from "./exit.ts";
import { colours, flushed, print, say } from "./output.ts";
import { helpPage } from "./usage.ts";

export interface Program {
  name: string;
  version: string;
  description: string;
  /** Loaded when named, and all of them for the page of `--help`. */
  commands: Record<string, () => Promise<Command>>;
}

/** Runs one command line and answers with the exit code, once all output has left. Never throws. */
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
    case "--version":
    case "-v":
      if (rest.length > 0) throw new UsageError(`unexpected argument "${rest[0]}"`);
      print(program.version);
      return exit.done;
    case "--help":
    case "-h":
      print(await helpPage(await root(program)));
      return exit.done;
  }
  const load = Object.hasOwn(program.commands, first) ? program.commands[first] : undefined;
  if (load === undefined) throw new UsageError(`unknown ${first.startsWith("-") ? "option" : "command"} ${first}`);
  const command = await load();
  if (!asksForHelp(rest)) return runOne(command, rest);
  print(await helpOf(command, program.name, rest));
  return exit.done;
}

async function runOne(command: Command, rawArgs: string[]): Promise<ExitCode> {
  const { result } = await runCommand(command.definition, { rawArgs });
  return (result as ExitCode | undefined) ?? exit.done;
}

/** The page of the command, or of the one below it that `args` names. */
async function helpOf(command: Command, programName: string, args: string[]): Promise<string> {
  const below = await command.definition.subCommands;
  const [name] = args;
  const named =
    name !== undefined && typeof below === "object" && Object.hasOwn(below, name) ? await below[name] : undefined;
  if (typeof named !== "object") return helpPage(command, { meta: { name: programName } });
  const { name: commandName } = (await command.definition.meta) as CommandMeta;
  return helpPage({ definition: named, examples: [] }, { meta: { name: `${programName} ${commandName}` } });
}

/** `--help` before any `--`. */
function asksForHelp(args: string[]): boolean {
  const own = args.includes("--") ? args.slice(0, args.indexOf("--")) : args;
  return own.includes("--help") || own.includes("-h");
}

async function root(program: Program): Promise<Command> {
  const commands = Object.entries(program.commands).map(async ([name, load]) => [name, (await load()).definition]);
  const subCommands: Record<string, CommandDef> = Object.fromEntries(await Promise.all(commands));
  const { name, version, description } = program;
  return { definition: { meta: { name, version, description }, subCommands }, examples: [] };
}

function explain(program: Program, first: string | undefined, error: unknown): ExitCode {
  const message = error instanceof Error ? error.message : String(error);
  say(`${program.name}: ${colours(process.stderr) ? message : stripVTControlCharacters(message)}`);
  const isUsage = error instanceof UsageError || (error instanceof Error && error.name === "CLIError");
  if (!isUsage) {
    if (process.env.KAKEYA_DEBUG && error instanceof Error) say(error.stack ?? "");
    return exit.failure;
  }
  const known = first !== undefined && Object.hasOwn(program.commands, first);
  say(`see ${program.name} ${known ? `${first} ` : ""}--help`);
  return exit.usage;
}
