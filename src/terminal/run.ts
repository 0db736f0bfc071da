import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ExitCode, exit } from "../cli/exit.ts";
import { say } from "../cli/output.ts";
import { progress } from "../cli/progress.ts";
import { type Connected, connect } from "../connection/connect.ts";
import { converse } from "./conversation.ts";
import type { ChatCommand } from "./options.ts";
import { answerAll } from "./piped.ts";
import { Talk } from "./talk.ts";

/** Talks with a model until the person, or the input, ends it. @param kakeya how this process starts another one */
export async function chat(command: ChatCommand, kakeya: readonly string[]): Promise<ExitCode> {
  using log = command.connection.address === undefined ? temporaryLog() : undefined;
  await using connected = await reached(command, kakeya, log?.path ?? "");
  const { client } = connected;
  const first = await Talk.open(client, command, command.session);
  const atTerminal = command.message === undefined && process.stdin.isTTY;
  const leave = (talk: Talk) => leaveTalk(talk, command, atTerminal);
  if (atTerminal) return await converse(first, { open: () => Talk.open(client, command), leave }, command);
  try {
    return await answerAll(first, command);
  } finally {
    await leave(first);
  }
}

async function reached(command: ChatCommand, kakeya: readonly string[], logPath: string): Promise<Connected> {
  const { connection, model, serverFlags } = command;
  const line = progress();
  if (connection.address === undefined) line.update(`starting ${model ?? "the embedded model"}`);
  try {
    return await connect(connection, { kakeya, model, flags: serverFlags, logPath });
  } finally {
    line.end();
  }
}

/**
 * A conversation that can be continued is kept, and the person is told how; one that nobody can return to ends. On a
 * server that others use, too, only a person's conversation keeps its place.
 */
async function leaveTalk(talk: Talk, { connection, state, session: given }: ChatCommand, atTerminal: boolean) {
  const { session } = talk.chat;
  const isKept = state !== undefined || (connection.address !== undefined && (atTerminal || given === session.id));
  try {
    const { historyTokens } = await session.info();
    if (isKept && historyTokens > 0) say(`kept: go on with the same options and --session ${session.id}`);
    else await session.close();
  } catch {
    // The session, or its server, is gone already.
  }
}

/** For the log of the own server: what matters of it is in the error when it can't start. Removed with this process. */
function temporaryLog(): { path: string } & Disposable {
  const dir = mkdtempSync(join(tmpdir(), "kakeya-chat-"));
  const remove = () => rmSync(dir, { recursive: true, force: true });
  const end = (signal: NodeJS.Signals) => {
    // If somebody else listens, too, the work ends in an orderly way.
    if (process.listenerCount(signal) === 1) process.exit(exit.interrupted);
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  process.on("exit", remove);
  for (const signal of signals) process.on(signal, end);
  return {
    path: join(dir, "server.log"),
    [Symbol.dispose]() {
      process.off("exit", remove);
      for (const signal of signals) process.off(signal, end);
      remove();
    },
  };
}
