import { stripVTControlCharacters } from "node:util";
import { type CommandDef, renderUsage } from "citty";
import type { Command } from "./command.ts";
import { colours } from "./output.ts";

/** The page that `--help` prints: usage, options, examples. */
export async function helpPage(command: Command, parent?: CommandDef): Promise<string> {
  const usage = (await renderUsage(command.definition, parent)).trimEnd();
  const examples = command.examples.map((line) => `  kakeya ${line}`);
  const page = examples.length === 0 ? usage : [usage, "", "EXAMPLES", "", ...examples].join("\n");
  return colours(process.stdout) ? page : stripVTControlCharacters(page).replaceAll(/ +$/gm, "");
}
