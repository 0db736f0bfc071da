/** A whole run: server, client, turns, report. */

import { type ExitCode, exit } from "../cli/exit.ts";
import { say } from "../cli/output.ts";
import { StopSignals } from "../cli/stop-signals.ts";
import type { Destination } from "../files/destination.ts";
import { writeTo } from "../files/write-to.ts";
import { exitCode } from "../report/gates.ts";
import type { ConfigV2, ReportV2 } from "../report/report.ts";
import { reportText } from "../report/report-file.ts";
import { Checkpoint } from "./checkpoint.ts";
import { type Clock, systemClock } from "./clock.ts";
import { Kills } from "./kills.ts";
import type { BenchOptions } from "./options.ts";
import { outputsOf } from "./outputs.ts";
import { Progress } from "./progress.ts";
import { RunRecord } from "./record.ts";
import { requireSameRun, resumedClock, resumedFrom } from "./resume.ts";
import { longestWarmUpS, runTogether, warmUp } from "./runner.ts";
import { openTarget, type Target } from "./target.ts";
import { Walk, type WalkOptions } from "./walk.ts";
import { builtInWorkload, readWorkload, type Workload } from "./workload.ts";
import { loadAverage, worldOf } from "./world.ts";

export interface BenchOutcome {
  report: ReportV2;
  /** Where the report was written. */
  to: Destination;
  /** The model's last answer in words; empty when no turn succeeded. */
  lastAnswer: string;
  exitCode: ExitCode;
}

/**
 * Runs turns until the time is up, or a signal comes, and writes the report. Throws when it can't begin; once it
 * has begun, whatever happens, a report is written.
 */
export async function bench(options: BenchOptions): Promise<BenchOutcome> {
  const outputs = outputsOf(options);
  const workload = options.workload === undefined ? builtInWorkload : await readWorkload(options.workload);
  await using target = await openTarget(options, outputs.log?.path);
  const resumed = options.resume === undefined ? undefined : await resumedFrom(options.resume);
  const walkOf = (control: ConfigV2["control"], clock: Clock, more: Partial<WalkOptions> = {}) => {
    const eosTokenIds = target.info.defaultEosTokenIds;
    return new Walk({ ...options, ...target, eosTokenIds, workload, control, clock, ...more });
  };
  if (options.warmUpTurns > 0) {
    say(`warming up: turns that nobody records, ${options.warmUpTurns} of them or for ${longestWarmUpS} s`);
  }
  const warmUpClock = systemClock();
  const warmUpTurns = await warmUp(walkOf("none", warmUpClock), options.warmUpTurns, warmUpClock);

  // Until here a signal simply ends the process; from here on it ends the run in an orderly way.
  using stop = new StopSignals();
  const clock = resumed === undefined ? systemClock() : resumedClock(resumed);
  const config = configOf(options, target, workload, resumed?.report.config.warm_up_turns ?? warmUpTurns);
  if (resumed) requireSameRun(resumed, config, target.info);
  const { server } = target;
  const kills =
    server && options.killTimes > 0
      ? new Kills({ server, times: options.killTimes, durationS: options.durationS, clock })
      : undefined;
  const isAlone = options.sessions === 1;
  let sessionsOpened = 0;
  const together = () => ({ client: target.another(), newSessionIndex: () => sessionsOpened++ });
  const walks = Array.from({ length: options.sessions }, () =>
    walkOf(options.control, clock, {
      ...(isAlone ? {} : together()),
      ...(kills && { kills }),
      ...(resumed && { resumed: { turns: resumed.report.turns.length, point: resumed.point } }),
    }),
  );
  const record = new RunRecord({
    config,
    world: worldOf(target.info),
    clock,
    loadAverage,
    resumePoint: () => (isAlone ? walks[0]?.resumePoint : undefined),
    ...(resumed && { resumed: resumed.report }),
    ...(kills && { restarts: kills.restarts }),
  });
  const checkpoint = new Checkpoint({
    to: outputs.checkpoint,
    everyS: options.checkpointEveryS,
    clock,
    report: () => record.report({ partial: true, abortReason: stop.received, resumable: true }),
    warn: (message) => say(`kakeya: ${message}`),
  });
  checkpoint.write();
  stop.signal.addEventListener("abort", () => checkpoint.writeOrWarn());

  let abortReason: string | null = null;
  {
    using progress = new Progress({ run: options, record, nowS: clock.nowS, terminal: process.stderr });
    try {
      const parts = { record, checkpoint, clock, stop: stop.signal, onTurn: () => progress.onTurn() };
      await runTogether(options, walks, parts);
      abortReason = stop.received;
    } catch (error) {
      abortReason = `error: ${error instanceof Error ? error.message : error}`;
    }
  }
  const report = record.report({ partial: abortReason !== null, abortReason });
  await writeOver(checkpoint, outputs.report, report);
  await Promise.all(walks.map((walk) => walk.close()));
  const lastAnswer = target.tokenizer.decode(walks[0]?.lastAnswerIds ?? []);
  return { report, to: outputs.report, lastAnswer, exitCode: exitCodeOf(report, stop, options.strict) };
}

function configOf(options: BenchOptions, target: Target, workload: Workload, warmUpTurns: number): ConfigV2 {
  return {
    grpc_address: target.address,
    tokenizer_id: options.tokenizer ?? target.info.modelId,
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
    own_server: target.server !== undefined,
    ...(options.sessions > 1 && { sessions: options.sessions }),
  };
}

/** The final report takes the checkpoint's place. */
async function writeOver(checkpoint: Checkpoint, to: Destination, report: ReportV2): Promise<void> {
  try {
    await writeTo(to, reportText(report));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : cause;
    throw new Error(`there is no report; ${checkpoint.path} holds what was saved last. ${why}`, { cause });
  }
  checkpoint.remove();
}

function exitCodeOf({ abort_reason, gates }: ReportV2, { received }: StopSignals, strict: boolean): ExitCode {
  if (received !== null) return exit.interrupted;
  return abort_reason === null ? exitCode(gates, { strict }) : exit.failure;
}
