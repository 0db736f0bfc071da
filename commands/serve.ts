import { command } from "../src/cli/command.ts";

export default command({
  name: "serve",
  description: "Not there yet.",
  args: {},
  examples: [],
  run() {
    throw new Error("serve is not there yet");
  },
});
