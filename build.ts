import { join } from "node:path";
import { buildClient } from "./build/client.ts";
import { buildExecutable, type Platform, platforms } from "./build/executable.ts";
import { writeCommandPackage, writePlatformPackage } from "./build/npm.ts";
import { version } from "./package.json" with { type: "json" };
import { command } from "./src/cli/command.ts";
import { UsageError } from "./src/cli/exit.ts";
import { print } from "./src/cli/output.ts";
import { run } from "./src/cli/run.ts";

const root = import.meta.dir;
/** Where each package has a folder of its name. */
const packages = "dist/npm";
const here = `${process.platform}-${process.arch}`;
const isPlatform = (name: string): name is Platform => Object.hasOwn(platforms, name);
const names = Object.keys(platforms).filter(isPlatform);

const build = command({
  name: "build",
  description: "Build the executable, or the npm packages, from these sources.",
  args: {
    target: {
      type: "string",
      description: `${names.join(", ")}, npm (the packages) or all`,
      valueHint: "platform|npm|all",
      default: here,
    },
  },
  examples: ["build", "build --target all"],
  async run({ args }) {
    for (const step of stepsTo(args.target)) {
      const startedAt = performance.now();
      const made = await step();
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
      print(`${made}  ${(Bun.file(join(root, made)).size / 1e6).toPrecision(3)} MB  ${seconds} s`);
    }
    return undefined;
  },
});

type Step = () => Promise<string>;

/** What there is to do, in order; each step answers with the file it made, relative to this one. */
function stepsTo(target: string): Step[] {
  if (isPlatform(target)) return [executable(target)];
  if (target === "npm" && isPlatform(here)) return [executable(here), packaged(here), commandPackage, clientPackage];
  if (target === "all")
    return [...names.flatMap((name) => [executable(name), packaged(name)]), commandPackage, clientPackage];
  throw new UsageError(`there is no target "${target}"; choose one of ${names.join(", ")}, npm (the packages) or all`);
}

const executablePath = (platform: Platform) => (platform === here ? "dist/kakeya" : `dist/kakeya-${platform}`);

function executable(platform: Platform): Step {
  return async () => {
    await buildExecutable(platform, join(root, executablePath(platform)));
    return executablePath(platform);
  };
}

function packaged(platform: Platform): Step {
  return async () => {
    writePlatformPackage(join(root, packages), platform, join(root, executablePath(platform)));
    return `${packages}/kakeya-${platform}/kakeya`;
  };
}

const commandPackage: Step = async () => {
  writeCommandPackage(join(root, packages));
  return `${packages}/kakeya/kakeya`;
};

const clientPackage: Step = async () => {
  await buildClient(join(root, packages, "kakeya-client"));
  return `${packages}/kakeya-client/client/index.js`;
};

const commands = { build: async () => build };
process.exit(
  await run({ name: "kakeya", version, description: "Build kakeya.", commands }, ["build", ...process.argv.slice(2)]),
);
