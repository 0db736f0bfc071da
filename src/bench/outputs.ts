/** All that a run writes, checked before it begins. */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { resolveModel } from "../checkpoint/resolve.ts";
import { UsageError } from "../cli/exit.ts";
import type { Destination } from "../files/destination.ts";
import { logDestination, type OutputRules, reportDestination } from "../report/outputs.ts";
import type { BenchOptions } from "./options.ts";

export interface Outputs {
  report: Destination;
  /** The report so far, in case the run is killed. */
  checkpoint: Destination;
  /** The log of the server that the bench starts; absent with --address. */
  log: Destination | undefined;
}

/**
 * Checkpoint and log lie beside the report; where that is a stream, in the current folder under the default name.
 * @throws UsageError, or Error where the path is not the user's choice
 */
export function outputsOf(options: BenchOptions): Outputs {
  const { address, defaultOutput, force, output } = options;
  const rules = { inputs: inputsOf(options), force, chosen: output !== defaultOutput };
  const report = reportDestination(output, rules);
  const beside = report.kind === "file" ? output : defaultOutput;
  const checkpoint = regularFile(`${beside}.partial`, rules, reportDestination);
  if (address !== undefined) return { report, checkpoint, log: undefined };
  const logPath = `${beside.replace(/\.json$/, "")}.server.log`;
  return { report, checkpoint, log: regularFile(logPath, rules, logDestination) };
}

function regularFile(path: string, rules: OutputRules, decide: typeof reportDestination): Destination {
  const decided = decide(path, rules);
  if (decided.kind === "file") return decided;
  const message = `${path}: is no regular file. Remove it, or name another --output.`;
  throw rules.chosen ? new UsageError(message) : new Error(message);
}

/** The files that a run reads. */
function inputsOf({ model, tokenizer, workload }: BenchOptions): string[] {
  const models = [model, tokenizer].filter((id) => id !== undefined);
  return [...(workload === undefined ? [] : [workload]), ...models.flatMap(filesOf)];
}

function filesOf(model: string): string[] {
  try {
    const { dir } = resolveModel(model, process.env);
    return readdirSync(dir).map((name) => join(dir, name));
  } catch {
    return []; // What can't be read is reported when it is read.
  }
}
