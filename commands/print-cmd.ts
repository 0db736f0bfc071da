import { type ArgsDef, type CommandDef, defineCommand, type ParsedArgs } from "citty";
import { benchFlags, benchOptions, smokeFlags, smokeOptions } from "../src/bench/options.ts";
import { type Command, command } from "../src/cli/command.ts";
import { print } from "../src/cli/output.ts";
import { selfCommand } from "../src/cli/self.ts";
import { optionWords, shellLine } from "../src/cli/shell.ts";
import { serverFlags } from "../src/connection/server-flags.ts";
import { serveFlags, serveOptions } from "../src/host/flags.ts";
import { defaultServerOptions } from "../src/host/options.ts";

const targets = {
  serve: lineOf("serve", serveFlags, (args) => void serveOptions(args)),
  bench: lineOf("bench", benchFlags, (args) => {
    // The server runs in another terminal, at its default address, unless the bench is told which one to start.
    const startsOwn = Object.keys(serverFlags).some((name) => args[name] !== undefined);
    const address = args.address ?? (startsOwn ? undefined : defaultServerOptions.bind);
    benchOptions({ ...args, address }, [], 0);
    return { address };
  }),
  smoke: lineOf("smoke", smokeFlags, (args) => void smokeOptions(args, [], 0)),
};

/**
 * Prints the line that runs a command, with all of its options spelled out.
 * @param check throws for what the command itself would refuse; returns values to use instead of those given
 */
function lineOf<const T extends ArgsDef>(
  name: string,
  args: T,
  check: (args: ParsedArgs<T>) => Record<string, string | undefined> | undefined,
): CommandDef {
  const target = command({
    name,
    description: `Print the line that runs ${name}, with the options given here.`,
    args,
    examples: [],
    run({ args: given }) {
      const values = Object.fromEntries(Object.keys(args).map((option) => [option, given[option]]));
      print(shellLine([...selfCommand(), name, ...optionWords(args, { ...values, ...check(given) })]));
      return undefined;
    },
  });
  return target.definition;
}

const printCmd: Command = {
  definition: defineCommand({
    meta: {
      name: "print-cmd",
      description: "Print the exact shell line of serve, bench or smoke, with every option spelled out.",
    },
    subCommands: targets,
    default: "bench",
  }) as CommandDef,
  examples: ["print-cmd serve --window 256", "print-cmd bench --duration 1h", "print-cmd smoke --duration 30"],
};
export default printCmd;
