/** The flags of `chat`, and what they mean. */

import type { ArgsDef } from "citty";
import type { SendOptions } from "../chat/index.ts";
import { UsageError } from "../cli/exit.ts";
import { decimal, integer } from "../cli/units.ts";
import { type Connection, connectionFlags, connectionOf } from "../connection/flags.ts";
import { passedOnFlags, serverFlags } from "../connection/server-flags.ts";

/** The flags for a server that is started here. */
const ownServerFlags = {
  ...serverFlags,
  state: {
    type: "string",
    description: "Folder in which conversations are kept; without it they end with the command",
    valueHint: "dir",
  },
} as const satisfies ArgsDef;

export const chatFlags = {
  message: {
    type: "positional",
    required: false,
    description:
      "Answer this and end; - takes it from the standard input (default: a conversation, a message each line)",
  },
  session: { type: "string", description: "Continue this session, of --state or --address", valueHint: "id" },
  system: {
    type: "string",
    description: "System message; for a session that is continued, the one it began with",
    valueHint: "text",
  },
  thinking: {
    type: "string",
    description: "Whether the model's thinking is shown (default: show on a terminal, hide in a pipe)",
    valueHint: "show|hide",
  },
  "max-tokens": {
    type: "string",
    default: "2048",
    description: "Longest answer, thinking included",
    valueHint: "tokens",
  },
  temperature: {
    type: "string",
    default: "0",
    description: "0: always the most probable token; higher: more variety",
    valueHint: "number",
  },
  "top-p": {
    type: "string",
    description: "Choose among the most probable tokens whose probabilities add up to this, at most 1",
    valueHint: "number",
  },
  "top-k": { type: "string", description: "Choose among this many of the most probable tokens", valueHint: "tokens" },
  seed: { type: "string", description: "The same seed gives the same answers (default: drawn)", valueHint: "number" },
  json: { type: "boolean", default: false, description: "Print each answer as a line of JSON, with its counts" },
  tokenizer: {
    type: "string",
    description: "Directory or Hugging Face id of tokenizer and chat template (default: the model's own)",
    valueHint: "dir|id",
  },
  ...connectionFlags,
  ...ownServerFlags,
} as const satisfies ArgsDef;

export interface ChatCommand {
  connection: Connection;
  /** For the server that is started where there is no address. */
  serverFlags: readonly string[];
  model: string | undefined;
  /** Folder of that server's sessions. */
  state: string | undefined;
  /** Where tokenizer and chat template are; undefined: with the served model. */
  tokenizer: string | undefined;
  /** The only message, or that it is all of the standard input; undefined: a conversation. */
  message: { text: string } | "input" | undefined;
  session: string | undefined;
  system: string | undefined;
  thinking: "show" | "hide" | undefined;
  json: boolean;
  sending: SendOptions;
}

type Args = { [K in keyof typeof chatFlags]?: string | boolean | undefined };

/** @throws {UsageError} for values and combinations that make no sense. Reads no file. */
export function chatOptions(args: Args): ChatCommand {
  const given = (name: keyof Args) => (typeof args[name] === "string" ? args[name] : undefined);
  const connection = connectionOf(args);
  const [session, state, message] = [given("session"), given("state"), given("message")];
  if (session !== undefined && state === undefined && connection.address === undefined) {
    throw new UsageError("--session continues a session of --state or of --address: add --state or --address");
  }
  if (connection.token.file === "-" && (message === undefined || message === "-")) {
    throw new UsageError("--token-file - and the conversation can't both come from the standard input");
  }
  return {
    connection,
    serverFlags: passedOnFlags(ownServerFlags, args, connection.address),
    model: given("model"),
    state,
    tokenizer: given("tokenizer") ?? given("model"),
    message: message === undefined ? undefined : message === "-" ? "input" : { text: message },
    session,
    system: given("system"),
    thinking: thinkingOf(given("thinking")),
    json: args.json === true,
    sending: sendingOf(given),
  };
}

function sendingOf(given: (name: keyof Args) => string | undefined): SendOptions {
  const [topP, topK, seed] = [given("top-p"), given("top-k"), given("seed")];
  if (seed !== undefined && !(/^\d+$/.test(seed) && BigInt(seed) < 2n ** 64n)) {
    throw new UsageError(`--seed must be an integer from 0 to 2^64 - 1, not "${seed}"`);
  }
  const sampled = {
    temperature: decimal("temperature", given("temperature") ?? chatFlags.temperature.default, 0, 100),
    ...(topP === undefined ? {} : { topP: decimal("top-p", topP, 0.000_001, 1) }),
    ...(topK === undefined ? {} : { topK: integer("top-k", topK, 1, 2 ** 32 - 1) }),
    ...(seed === undefined ? {} : { seed: BigInt(seed) }),
  };
  const needless = (["top-p", "top-k", "seed"] as const).find((name) => given(name) !== undefined);
  if (sampled.temperature === 0 && needless !== undefined) {
    throw new UsageError(`--${needless} has no effect without a --temperature above 0`);
  }
  const maxTokens = given("max-tokens") ?? chatFlags["max-tokens"].default;
  return { ...sampled, maxTokens: integer("max-tokens", maxTokens, 1, 2 ** 32 - 1) };
}

function thinkingOf(text: string | undefined): ChatCommand["thinking"] {
  if (text === undefined || text === "show" || text === "hide") return text;
  throw new UsageError(`--thinking must be show or hide, not "${text}"`);
}
