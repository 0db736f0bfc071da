/** What a run's numbers depend on: the runtime, the model, the machine and its load. */

import { cpus, loadavg, platform, release, totalmem } from "node:os";
import { sourceCommit } from "../cli/self.ts";
import type { RuntimeInfo } from "../client/index.ts";
import type { World } from "../report/report.ts";
import type { WorldAtStart } from "./record.ts";

/** As it is when the run begins. */
export function worldOf(info: RuntimeInfo): WorldAtStart {
  const processors = cpus();
  return {
    version: info.version,
    commit: sourceCommit(),
    model_id: info.modelId,
    model_fingerprint: info.modelFingerprint,
    architecture: info.architecture,
    quantization: info.quantization,
    sink: info.sink,
    window: info.window,
    block: info.block,
    kv_format: info.kvFormat,
    kv_bytes_per_token: info.kvBytesPerToken,
    exact: info.exact,
    device: info.device || "cpu",
    adapter: info.adapter,
    draft_limit: info.draftLimit,
    vocab_size: info.vocabSize,
    cpu_model: processors[0]?.model.trim() ?? "unknown",
    cores: processors.length,
    memory_total_bytes: totalmem(),
    os: `${platform()} ${release()} ${process.arch}`,
    load_average_start: loadAverage(),
    command_line: commandLine(process.argv.slice(2)),
  };
}

/** 1, 5 and 15 minutes; zeros on Windows, which has no such figure. */
export function loadAverage(): World["load_average_end"] {
  const [one = 0, five = 0, fifteen = 0] = loadavg();
  return [one, five, fifteen];
}

/** The command line as it was typed, without secrets. */
export function commandLine(args: readonly string[]): string[] {
  const hidden = args.map((arg, i) => {
    if (arg.startsWith("--token=")) return "--token=***";
    return args[i - 1] === "--token" ? "***" : arg;
  });
  return ["kakeya", ...hidden];
}
