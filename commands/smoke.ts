import { command } from "../src/cli/command.ts";

export default command({
  name: "smoke",
  description: "Not there yet.",
  args: {},
  examples: [],
  run() {
    throw new Error("smoke is not there yet");
  },
});
