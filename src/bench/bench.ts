/** A whole run: server, client, turns, report. */

import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { type ExitCode, exit } from "../cli/exit.ts";
import { say } from "../cli/output.ts";
import { Client, type RuntimeInfo } from "../client/index.ts";
import { resolveModel } from "../model/resolve.ts";
import { loadTokenizer, type Tokenizer } from "../model/tokenizer.ts";
import { Checkpoint } from "./checkpoint.ts";
import { type Clock, systemClock } from "./clock.ts";
import { exitCode } from "./gates.ts";
import type { BenchOptions } from "./options.ts";
import { OwnServer } from "./own-server.ts";
import { Progress } from "./progress.ts";
import { RunRecord } from "./record.ts";
import type { ConfigV2, ReportV2 } from "./report.ts";
import { writeReport } from "./report-file.ts";
import { run, warmUp } from "./runner.ts";
import { sourceCommit } from "./source-commit.ts";
import { StopSignals } from "./stop-signals.ts";
import { Walk } from "./walk.ts";
import { builtInWorkload, readWorkload } from "./workload.ts";
import { loadAverage, worldOf } from "./world.ts";

export interface BenchOutcome {
  report: ReportV2;
  /** The model's last answer in words; empty when no turn succeeded. */
  lastAnswer: string;
  exitCode: ExitCode;
}

/**
 * Runs turns until the time is up and writes the report. Throws when it can't begin; once it has begun, whatever
 * happens, a report is written.
 */
export async function bench(options: BenchOptions): Promise<BenchOutcome> {
  mkdirSync(dirname(options.output), { recursive: true });
  const workload = options.workload === undefined ? builtInWorkload : await readWorkload(options.workload);
  await using server = await ownServer(options);
  const address = server?.address ?? options.address ?? "";
  using client = new Client(address, options.token === undefined ? {} : { token: options.token });
  const info = await runtimeInfo(client, address);
  const tokenizer = tokenizerFor(options, info);

  const newWalk = (clock: Clock, control: ConfigV2["control"]) =>
    new Walk({ ...options, client, tokenizer, clock, workload, control, eosTokenIds: info.defaultEosTokenIds });
  const warmUpTurns = await warmUp(newWalk(systemClock(), "none"), options.warmUpTurns, systemClock());

  const config: ConfigV2 = {
    grpc_address: address,
    tokenizer_id: options.tokenizer ?? info.modelId,
    duration_s_target: options.durationS,
    turn_spacing_s: options.turnSpacingS,
    max_tokens: options.maxTokens,
    turns_target: options.turnsTarget,
    checkpoint_every_s: options.checkpointEveryS,
    warm_up_turns: warmUpTurns,
    workload: workload.name,
    workload_messages: workload.messages.length,
    template: options.template,
    control: options.control,
    own_server: server !== undefined,
  };
  const world = worldOf(info, sourceCommit(), commandLine(process.argv.slice(2)));
  // Until here a signal simply ends the process; from here on it ends the run, in order.
  using stop = new StopSignals();
  const clock = systemClock();
  const record = new RunRecord({ config, world, clock, loadAverage });
  const checkpoint = new Checkpoint({
    output: options.output,
    everyS: options.checkpointEveryS,
    clock,
    report: () => record.report({ partial: true, abortReason: stop.received }),
    warn: (message) => say(`kakeya: ${message}`),
  });
  checkpoint.write();
  stop.signal.addEventListener("abort", () => checkpoint.writeOrWarn());

  const walk = newWalk(clock, options.control);
  let abortReason: string | null = null;
  {
    using progress = new Progress({
      record,
      durationS: options.durationS,
      nowS: clock.nowS,
      terminal: process.stderr,
    });
    try {
      await run(options, { walk, record, checkpoint, clock, stop: stop.signal, onTurn: () => progress.onTurn() });
      abortReason = stop.received;
    } catch (error) {
      abortReason = `error: ${error instanceof Error ? error.message : error}`;
    }
  }
  const final = record.report({ partial: abortReason !== null, abortReason });
  writeReport(options.output, final);
  checkpoint.remove();
  await walk.close();
  return {
    report: final,
    lastAnswer: tokenizer.decode(walk.lastAnswerIds),
    exitCode: exitCodeOf(final, stop, options.strict),
  };
}

async function ownServer(options: BenchOptions): Promise<OwnServer | undefined> {
  if (options.address !== undefined) return undefined;
  const logPath = `${options.output.replace(/\.json$/, "")}.server.log`;
  const server = await OwnServer.start({ kakeya: options.kakeya, flags: options.serverFlags, logPath });
  say(`started a server of its own at ${server.address} (pid ${server.pid}, log ${logPath})`);
  return server;
}

async function runtimeInfo(client: Client, address: string): Promise<RuntimeInfo> {
  try {
    return await client.runtimeInfo();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : cause;
    throw new Error(
      `no kakeya server answers at ${address}: ${why}. Start one with "kakeya serve", or leave out --address`,
      { cause },
    );
  }
}

/** The tokenizer asked for, or that of the model that is served. */
function tokenizerFor({ tokenizer, model }: BenchOptions, info: RuntimeInfo): Tokenizer {
  const asked = tokenizer ?? model;
  if (asked !== undefined) return loadTokenizer(resolveModel(asked, process.env).dir, info.vocabSize);
  const embedded = resolveModel(undefined, process.env);
  try {
    const { dir } = info.modelId === embedded.modelId ? embedded : resolveModel(info.modelId, process.env);
    return loadTokenizer(dir, info.vocabSize);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : cause;
    throw new Error(`no tokenizer for the served model ${info.modelId}: ${why}. Name one with --tokenizer`, { cause });
  }
}

/** As it was typed, without what nobody else should read. */
function commandLine(args: readonly string[]): string[] {
  return ["kakeya", ...args.map((arg, i) => secret(arg) ?? (args[i - 1] === "--token" ? "***" : arg))];
}

function secret(arg: string): string | undefined {
  return arg.startsWith("--token=") ? "--token=***" : undefined;
}

function exitCodeOf({ abort_reason, gates }: ReportV2, { received }: StopSignals, strict: boolean): ExitCode {
  if (received !== null) return exit.interrupted;
  return abort_reason === null ? exitCode(gates, { strict }) : exit.failure;
}
