import { createInterface } from "node:readline";
import { type ExitCode, exit, UsageError } from "../cli/exit.ts";
import { colours, isOutputGone, print, printPiece, say } from "../cli/output.ts";
import { StopSignals } from "../cli/stop-signals.ts";
import { AnswerView } from "./answer-view.ts";
import type { ChatCommand } from "./options.ts";
import type { Talk } from "./talk.ts";

/** Answers one message, or each line of the standard input. Ctrl-C stops the answer and ends. */
export async function answerAll(talk: Talk, command: ChatCommand): Promise<ExitCode> {
  using stop = new StopSignals();
  let messages = 0;
  for await (const message of messagesOf(command, stop.signal)) {
    messages++;
    if (command.json) {
      const answer = await talk.answer(message, stop.signal, () => {});
      if (answer !== undefined) print(await talk.json(answer));
    } else {
      const thinking = (command.thinking ?? (process.stdout.isTTY ? "show" : "hide")) === "show";
      const remark = process.stdout.isTTY ? print : say;
      const view = new AnswerView({ write: printPiece, remark, colours: colours(process.stdout), thinking });
      view.end(await talk.answer(message, stop.signal, (event) => view.show(event)));
    }
    if (stop.signal.aborted) return exit.interrupted;
    if (await isOutputGone()) break;
  }
  if (stop.signal.aborted) return exit.interrupted;
  if (messages === 0) say("no message came from the standard input");
  return exit.done;
}

async function* messagesOf({ message }: ChatCommand, stop: AbortSignal): AsyncGenerator<string, void> {
  if (message === "input") yield required(await Bun.stdin.text());
  else if (message !== undefined) yield required(message.text);
  else {
    const lines = createInterface({ input: process.stdin, terminal: false });
    stop.addEventListener("abort", () => lines.close(), { once: true });
    for await (const line of lines) if (line.trim() !== "") yield line;
  }
}

function required(text: string): string {
  const message = text.replace(/\r?\n$/, "");
  if (message.trim() === "") throw new UsageError("the message is empty");
  return message;
}
