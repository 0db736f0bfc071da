import { benchFlags, benchOptions, runFlags, serverFlags } from "../src/bench/options.ts";
import { command } from "../src/cli/command.ts";
import { print } from "../src/cli/output.ts";
import { duration } from "../src/cli/units.ts";

const turnsByDefault = 60;

export default command({
  name: "smoke",
  description: "Start a server, bench it, stop it, and say what came of it; report and log stay in results/.",
  args: {
    duration: { type: "string", default: "30m", description: "length of the run" },
    "turn-spacing": {
      type: "string",
      description: `from one turn's start to the next (default: duration/${turnsByDefault})`,
    },
    ...runFlags,
    ...serverFlags,
  },
  examples: ["smoke --duration 30", "smoke"],
  async run({ args }) {
    const { bench } = await import("../src/bench/bench.ts");
    const { selfCommand } = await import("../src/bench/self-command.ts");
    const { summaryJson, summaryOf } = await import("../src/bench/summary.ts");
    const nowS = Math.floor(Date.now() / 1000);
    const spacing = args["turn-spacing"] ?? `${duration("duration", args.duration) / turnsByDefault}`;
    const output = `results/smoke-${nowS}.json`;
    const defaults = { template: benchFlags.template.default, control: benchFlags.control.default };
    const times = {
      "checkpoint-every": benchFlags["checkpoint-every"].default,
      "turn-timeout": benchFlags["turn-timeout"].default,
    };
    const options = benchOptions(
      { ...defaults, ...times, ...args, "turn-spacing": spacing, output },
      selfCommand(),
      nowS,
    );
    const outcome = await bench(options);
    if (args.json) print(summaryJson(outcome.report, output));
    else print(`${summaryOf(outcome.report, output)}\nlast answer: ${outcome.lastAnswer || "none"}`);
    return outcome.exitCode;
  },
});
