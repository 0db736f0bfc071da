import { command } from "../src/cli/command.ts";

export default command({
  name: "aggregate",
  description: "Not there yet.",
  args: {},
  examples: [],
  run() {
    throw new Error("aggregate is not there yet");
  },
});
