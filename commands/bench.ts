import { command } from "../src/cli/command.ts";

export default command({
  name: "bench",
  description: "Not there yet.",
  args: {},
  examples: [],
  run() {
    throw new Error("bench is not there yet");
  },
});
