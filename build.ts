import { join } from "node:path";
import { buildClient } from "./build/client.ts";
import { buildExecutable, type Platform, platforms } from "./build/executable.ts";
import { version } from "./package.json" with { type: "json" };
import { command } from "./src/cli/command.ts";
import { UsageError } from "./src/cli/exit.ts";
import { print } from "./src/cli/output.ts";
import { run } from "./src/cli/run.ts";

const here = `${process.platform}-${process.arch}`;
const isPlatform = (name: string): name is Platform => Object.hasOwn(platforms, name);
const names = Object.keys(platforms).filter(isPlatform);

const build = command({
  name: "build",
  description: "Build the executable, or the SDK, from these sources.",
  args: {
    target: {
      type: "string",
      description: `${names.join(", ")}, client (the SDK) or all`,
      valueHint: "platform|client|all",
      default: here,
    },
  },
  examples: ["build", "build --target all"],
  async run({ args }) {
    const targets = args.target === "all" ? [...names, "client"] : [args.target];
    for (const target of targets) {
      const startedAt = performance.now();
      const outfile = await built(target);
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
      print(`${outfile}  ${(Bun.file(join(import.meta.dir, outfile)).size / 1e6).toPrecision(3)} MB  ${seconds} s`);
    }
    return undefined;
  },
});

/** Answers with the file it wrote, relative to this one. */
async function built(target: string): Promise<string> {
  if (target === "client") {
    await buildClient();
    return "dist/client/index.js";
  }
  if (isPlatform(target)) {
    const outfile = target === here ? "dist/kakeya" : `dist/kakeya-${target}`;
    await buildExecutable(target, join(import.meta.dir, outfile));
    return outfile;
  }
  const known = `${names.join(", ")}, client (the SDK) or all`;
  throw new UsageError(`there is no target "${target}"; choose one of ${known}`);
}

const commands = { build: async () => build };
process.exit(
  await run({ name: "kakeya", version, description: "Build kakeya.", commands }, ["build", ...process.argv.slice(2)]),
);
