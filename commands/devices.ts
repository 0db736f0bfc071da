import { availableParallelism, cpus } from "node:os";
import { columns } from "../src/cli/columns.ts";
import { command } from "../src/cli/command.ts";
import { print, say } from "../src/cli/output.ts";
import { oneLine } from "../src/cli/plain-text.ts";
import { selfCommand } from "../src/cli/self.ts";
import type { Found } from "../src/devices/find.ts";

export default command({
  name: "devices",
  description: "List what can run a model here: the processor, and each GPU with its driver, tried.",
  args: {
    driver: {
      type: "string",
      description: "Try only this Vulkan driver, in this process, and let it print what it prints",
      valueHint: "manifest.json",
    },
    json: { type: "boolean", description: "Print JSON instead of a table", default: false },
  },
  examples: ["devices", "devices --json"],
  async run({ args }) {
    if (args.driver !== undefined) {
      const { tryDriver } = await import("../src/devices/trial.ts");
      const trial = await tryDriver(args.driver);
      print(args.json ? JSON.stringify(trial) : columns([...trial.adapters.map(row), [trial.problem ?? ""]]));
      return undefined;
    }
    const { findAdapters } = await import("../src/devices/find.ts");
    const { instructionSets } = await import("../src/engine/instruction-sets.ts");
    const found = await findAdapters(selfCommand());
    const cpu = { name: cpus()[0]?.model.trim() ?? "unknown", instruction_sets: instructionSets().split(" ") };
    const processor = { ...cpu, cores: availableParallelism() };
    print(args.json ? json(processor, found) : table(processor, found));
    if (!args.json && found.problem !== null) say(`no GPU can be used: ${oneLine(found.problem)}`);
    return undefined;
  },
});

interface Processor {
  name: string;
  instruction_sets: string[];
  cores: number;
}

function json(cpu: Processor, { adapters, problem }: Found): string {
  const gpus = adapters.map(({ manifest, ...adapter }) => ({
    ...adapter,
    manifest: manifest ?? null,
    usable: adapter.problem === null,
  }));
  return JSON.stringify({ cpu, gpus, gpu_problem: problem }, null, 2);
}

function table({ name, cores, instruction_sets }: Processor, { adapters }: Found): string {
  const [architecture = "", ...sets] = instruction_sets;
  const cpu = ["cpu", oneLine(`${name}, ${cores} cores`), architecture, sets.join(" "), "yes"];
  return columns([["device", "name", "backend", "driver or instructions", "usable"], cpu, ...adapters.map(row)]);
}

function row({ name, kind, backend, driver, problem }: Found["adapters"][number]): string[] {
  const usable = kind === "software" ? "yes, but the processor does its work: slower than cpu" : "yes";
  return ["gpu", oneLine(name), backend, oneLine(driver), problem === null ? usable : `no: ${oneLine(problem)}`];
}
