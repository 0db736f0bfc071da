import { description, version } from "../package.json" with { type: "json" };
import { run } from "./cli/run.ts";

const code = await run(
  {
    name: "kakeya",
    version,
    description,
    commands: {
      serve: async () => (await import("../commands/serve.ts")).default,
      chat: async () => (await import("../commands/chat.ts")).default,
      bench: async () => (await import("../commands/bench.ts")).default,
      aggregate: async () => (await import("../commands/aggregate.ts")).default,
      sessions: async () => (await import("../commands/sessions.ts")).default,
      smoke: async () => (await import("../commands/smoke.ts")).default,
      devices: async () => (await import("../commands/devices.ts")).default,
      models: async () => (await import("../commands/models.ts")).default,
      pull: async () => (await import("../commands/pull.ts")).default,
      "print-cmd": async () => (await import("../commands/print-cmd.ts")).default,
    },
  },
  process.argv.slice(2),
);
process.exit(code);
