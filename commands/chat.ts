import { command } from "../src/cli/command.ts";
import { chatFlags, chatOptions } from "../src/terminal/options.ts";

export default command({
  name: "chat",
  description: "Talk with a model in the terminal, or let it answer what a pipe brings.",
  args: chatFlags,
  examples: [
    "chat",
    'chat "What does a session cost?"',
    "chat --address 127.0.0.1:50051 --json < questions.txt",
    "chat --state conversations --system 'Answer in one sentence.'",
  ],
  async run({ args }) {
    const { chat } = await import("../src/terminal/run.ts");
    const { selfCommand } = await import("../src/cli/self.ts");
    return chat(chatOptions(args), selfCommand());
  },
});
