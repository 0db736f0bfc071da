/** The flags of a bench, and what they mean. */

import type { ArgsDef } from "citty";
import { UsageError } from "../cli/exit.ts";
import { duration, integer } from "../cli/units.ts";
import { type Connection, connectionFlags, connectionOf } from "../connection/flags.ts";
import { passedOnFlags, serverFlags } from "../connection/server-flags.ts";
import type { ConfigV2 } from "../report/report.ts";
import type { RunOptions } from "./runner.ts";
import { type TemplateName, templateNames } from "./template.ts";

export interface BenchOptions extends RunOptions, Connection {
  /** The executable and what comes before its subcommand, for the server it starts. */
  kakeya: readonly string[];
  /** For the server it starts. */
  serverFlags: readonly string[];
  /** Directory or Hugging Face id of the model its own server serves; absent: the embedded one. */
  model: string | undefined;
  /** Directory or Hugging Face id of the tokenizer; absent: the model's own. */
  tokenizer: string | undefined;
  /** That talk at the same time. */
  sessions: number;
  maxTokens: number;
  turnTimeoutS: number;
  /** Turns before the first recorded one. */
  warmUpTurns: number;
  checkpointEveryS: number;
  /** Path of the report, "-" for the standard output. */
  output: string;
  /** Its path where none is chosen. */
  defaultOutput: string;
  /** It may replace a file that is no report. */
  force: boolean;
  /** Path of the partial report to go on from. */
  resume: string | undefined;
  /** Path of the workload's file; absent: the built-in rotation. */
  workload: string | undefined;
  template: TemplateName;
  control: ConfigV2["control"];
  /** An inconclusive latency gate counts too. */
  strict: boolean;
  /** Times that its own server is killed on the way, and started again. */
  killTimes: number;
}

/** Turns of a smoke whose spacing is not given. */
const smokeTurns = 60;

/** What bench and smoke both take. */
const runFlags = {
  "max-tokens": { type: "string", default: "64", description: "Longest answer, in tokens", valueHint: "tokens" },
  "warm-up": {
    type: "string",
    default: "60",
    valueHint: "turns",
    description: "Turns before the recorded ones, in a session of their own, for 10 s at most",
  },
  strict: { type: "boolean", default: false, description: "Exit with 4 when the latency gate is inconclusive" },
  json: { type: "boolean", default: false, description: "Print the aggregate and the gates as JSON" },
} as const satisfies ArgsDef;

export const benchFlags = {
  duration: { type: "string", default: "14400", description: "Length of the run", valueHint: "time" },
  "turn-spacing": {
    type: "string",
    default: "30",
    description: "From one turn's start to the next one's; 0: none",
    valueHint: "time",
  },
  turns: { type: "string", description: "Stop after this many turns", valueHint: "count" },
  sessions: {
    type: "string",
    default: "1",
    description: "Sessions that talk at the same time, each over a connection of its own",
    valueHint: "count",
  },
  tokenizer: {
    type: "string",
    description: "Directory or Hugging Face id (default: the model's own)",
    valueHint: "dir|id",
  },
  workload: {
    type: "string",
    description: "File of messages, one a line or JSONL; - for the standard input (default: six built-in questions)",
    valueHint: "path",
  },
  template: {
    type: "string",
    default: "raw",
    description: "raw: message and line break; chatml: with roles",
    valueHint: "raw|chatml",
  },
  control: {
    type: "string",
    default: "none",
    description: "reprefill: the negative control, which must fail",
    valueHint: "none|reprefill",
  },
  output: {
    type: "string",
    description: "The report; - for the standard output (default: bench-<time>.json)",
    valueHint: "path",
  },
  force: {
    type: "boolean",
    default: false,
    description: "Let --output replace a file that is not one of kakeya's reports",
  },
  resume: {
    type: "string",
    description: "Continue from the .partial report that a crash left; give the other options as before",
    valueHint: "path",
  },
  state: {
    type: "string",
    description: "State folder of the server that bench starts, so that a run can be resumed after a crash",
    valueHint: "dir",
  },
  "checkpoint-every": {
    type: "string",
    default: "10m",
    description: "How often <output>.partial is written",
    valueHint: "time",
  },
  "turn-timeout": {
    type: "string",
    default: "10m",
    description: "Longest time a turn may take; a longer one has failed",
    valueHint: "time",
  },
  ...runFlags,
  ...connectionFlags,
  ...serverFlags,
} as const satisfies ArgsDef;

export const smokeFlags = {
  duration: { type: "string", default: "30m", description: "Length of the run", valueHint: "time" },
  "turn-spacing": {
    type: "string",
    valueHint: "time",
    description: `From one turn's start to the next one's (default: duration/${smokeTurns})`,
  },
  kill: {
    type: "string",
    valueHint: "times",
    description:
      "Kill the server this many times in the middle of an answer, and start it again: the session has to go on",
  },
  ...runFlags,
  ...connectionFlags,
  ...serverFlags,
} as const satisfies ArgsDef;

/** Values as citty gives them. */
type Values<T extends ArgsDef> = { [K in keyof T]?: string | boolean | undefined };

export function benchOptions(
  args: Values<typeof benchFlags>,
  kakeya: readonly string[],
  nowS: number,
  defaultOutput = `bench-${Math.floor(nowS)}.json`,
): BenchOptions {
  const resume = text(args.resume);
  const connection = connectionOf(args);
  const sessions = integer("sessions", given("sessions", args), 1);
  if (sessions > 1 && resume !== undefined) {
    throw new UsageError(`--resume goes on with one session: leave out --sessions ${sessions}`);
  }
  const passedOn = passedOnFlags({ ...serverFlags, state: benchFlags.state }, args, connection.address);
  return {
    durationS: positive("duration", given("duration", args)),
    turnSpacingS: duration("turn-spacing", given("turn-spacing", args)),
    turnsTarget: args.turns === undefined ? null : integer("turns", String(args.turns), 1),
    ...connection,
    kakeya,
    // A server of its own has a place for each.
    serverFlags:
      sessions > 1 && connection.address === undefined ? [...passedOn, "--capacity", `${sessions}`] : passedOn,
    sessions,
    model: text(args.model),
    tokenizer: text(args.tokenizer),
    maxTokens: integer("max-tokens", given("max-tokens", args), 1, 2 ** 32 - 1),
    turnTimeoutS: positive("turn-timeout", given("turn-timeout", args)),
    warmUpTurns: integer("warm-up", given("warm-up", args)),
    checkpointEveryS: positive("checkpoint-every", given("checkpoint-every", args)),
    output: text(args.output) ?? resume?.replace(/\.partial$/, "") ?? defaultOutput,
    resume,
    defaultOutput,
    force: args.force === true,
    workload: text(args.workload),
    template: oneOf("template", given("template", args), templateNames),
    control: oneOf("control", given("control", args), ["none", "reprefill"]),
    strict: args.strict === true,
    killTimes: 0,
  };
}

type FlagWithDefault = {
  [K in keyof typeof benchFlags]: (typeof benchFlags)[K] extends { type: "string"; default: string } ? K : never;
}[keyof typeof benchFlags];

function given(name: FlagWithDefault, args: Values<typeof benchFlags>): string {
  return text(args[name]) ?? benchFlags[name].default;
}

/** A bench whose report and whose server's log stay in results/. */
export function smokeOptions(args: Values<typeof smokeFlags>, kakeya: readonly string[], nowS: number): BenchOptions {
  const length = text(args.duration) ?? smokeFlags.duration.default;
  const spacing = text(args["turn-spacing"]) ?? String(duration("duration", length) / smokeTurns);
  const output = `results/smoke-${Math.floor(nowS)}.json`;
  const { kill, ...others } = args;
  const kills = kill === undefined ? 0 : integer("kill", String(kill));
  const options = benchOptions({ ...others, duration: length, "turn-spacing": spacing }, kakeya, nowS, output);
  if (kills > 0 && options.address !== undefined) {
    throw new UsageError("--kill is for the server that smoke starts: leave out --address");
  }
  return { ...options, killTimes: kills };
}

function text(value: string | boolean | undefined): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function positive(option: string, given: string): number {
  const value = duration(option, given);
  if (value > 0) return value;
  throw new UsageError(`--${option} must be longer than 0, not "${given}"`);
}

function oneOf<const T extends string>(option: string, given: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === given);
  if (found !== undefined) return found;
  throw new UsageError(`--${option} must be ${choices.join(" or ")}, not "${given}"`);
}
