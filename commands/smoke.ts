import { smokeFlags, smokeOptions } from "../src/bench/options.ts";
import { command } from "../src/cli/command.ts";
import { print } from "../src/cli/output.ts";

export default command({
  name: "smoke",
  description: "Start a server, bench it, stop it, and print the verdicts; report and log stay in results/.",
  args: smokeFlags,
  examples: ["smoke --duration 30", "smoke"],
  async run({ args }) {
    const { bench } = await import("../src/bench/bench.ts");
    const { selfCommand } = await import("../src/cli/self.ts");
    const { summaryJson, summaryText } = await import("../src/bench/summary.ts");
    const options = smokeOptions(args, selfCommand(), Date.now() / 1000);
    const outcome = await bench(options);
    print((args.json ? summaryJson : summaryText)(outcome, options.output));
    return outcome.exitCode;
  },
});
