import { command } from "../src/cli/command.ts";

export default command({
  name: "print-cmd",
  description: "Not there yet.",
  args: {},
  examples: [],
  run() {
    throw new Error("print-cmd is not there yet");
  },
});
