import { benchFlags, benchOptions } from "../src/bench/options.ts";
import { command } from "../src/cli/command.ts";
import { print, say } from "../src/cli/output.ts";

export default command({
  name: "bench",
  description: "Walk one session through hours of turns, and write a report that says whether it stayed flat.",
  args: benchFlags,
  examples: [
    "bench --duration 1m --turn-spacing 1s",
    "bench --address 127.0.0.1:50051 --duration 4h --output four-hours.json",
    "bench --turns 480 --turn-spacing 0",
    "bench --address 127.0.0.1:50051 --sessions 300 --turn-spacing 5s --duration 10m",
    "bench --control reprefill --turns 60 --turn-spacing 0",
  ],
  async run({ args }) {
    const { bench } = await import("../src/bench/bench.ts");
    const { selfCommand } = await import("../src/cli/self.ts");
    const { summaryJson, summaryText } = await import("../src/bench/summary.ts");
    const options = benchOptions(args, selfCommand(), Date.now() / 1000);
    const outcome = await bench(options);
    const show = outcome.to.kind === "stdout" ? say : print;
    show((args.json ? summaryJson : summaryText)(outcome, options.output));
    return outcome.exitCode;
  },
});
