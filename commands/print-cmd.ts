import { type ArgsDef, type CommandDef, defineCommand } from "citty";
import { benchFlags, benchOptions, serverFlags, smokeFlags } from "../src/bench/options.ts";
import { type Command, command } from "../src/cli/command.ts";
import { print } from "../src/cli/output.ts";
import { selfCommand } from "../src/cli/self-command.ts";
import { optionWords, shellLine } from "../src/cli/shell.ts";
import serve from "./serve.ts";

const fourHours = { type: "string", default: "14400", description: "length of the run" } as const;

const targets = {
  serve: lineOf("serve", serve.definition.args as ArgsDef),
  bench: lineOf("bench", { ...benchFlags, duration: fourHours }, (values) => {
    // The server runs in another terminal, at its default address, unless the bench is told which one to start.
    const startsOwn = Object.keys(serverFlags).some((name) => values[name] !== undefined);
    const address = values.address ?? (startsOwn ? undefined : "127.0.0.1:50051");
    benchOptions({ ...values, address }, [], 0);
    return { ...values, address };
  }),
  smoke: lineOf("smoke", { ...smokeFlags, duration: fourHours }),
};

/** Prints the line that runs a command, with all of its options spelled out; refuses those it would refuse. */
function lineOf(name: string, args: ArgsDef, complete = (values: Values) => values): CommandDef {
  const target = command({
    name,
    description: `The line that runs ${name}, with the options given here.`,
    args,
    examples: [],
    run({ args: given }) {
      const values = complete(Object.fromEntries(Object.keys(args).map((option) => [option, given[option]])));
      print(shellLine([...selfCommand(), name, ...optionWords(args, values)]));
    },
  });
  return target.definition;
}

type Values = Record<string, string | boolean | undefined>;

const printCmd: Command = {
  definition: defineCommand({
    meta: {
      name: "print-cmd",
      description: "Print the exact shell line of serve, bench or smoke; four hours by default.",
    },
    subCommands: targets,
    default: "bench",
  }) as CommandDef,
  examples: ["print-cmd serve --window 256", "print-cmd bench --duration 1h", "print-cmd smoke --duration 30"],
};
export default printCmd;
