import { type ExitCode, exit } from "../cli/exit.ts";
import { colours, print, printPiece, say } from "../cli/output.ts";
import { oneLine, plainLines } from "../cli/plain-text.ts";
import { SessionNotFound } from "../client/index.ts";
import { AnswerView } from "./answer-view.ts";
import { Keyboard } from "./keyboard.ts";
import { type LineCommand, lineHelp, readLine } from "./line-command.ts";
import type { ChatCommand } from "./options.ts";
import type { Talk } from "./talk.ts";

export interface Talks {
  open(): Promise<Talk>;
  /** It is not used any more here. */
  leave(talk: Talk): Promise<void>;
}

/** A conversation with a person at the terminal, until they end it. Returns the last talk. */
export async function converse(first: Talk, talks: Talks, command: ChatCommand): Promise<ExitCode> {
  // Where the answers go to a file, the conversation around them stays on the terminal.
  const screen = process.stdout.isTTY ? process.stdout : process.stderr;
  const tell = process.stdout.isTTY ? print : say;
  using keyboard = new Keyboard(process.stdin, screen);
  let talk = first;
  let interrupts = 0;

  const commands: Record<Exclude<LineCommand, "quit">, () => Promise<void>> = {
    async help() {
      tell(lineHelp);
    },
    async stats() {
      tell(await talk.figures());
    },
    async new() {
      const next = await talks.open();
      await talks.leave(talk);
      talk = next;
      tell("a new conversation: nothing was said yet");
    },
  };

  const answer = async (message: string) => {
    if (command.json) {
      const whole = await keyboard.during((signal) => talk.answer(message, signal, () => {}));
      if (whole !== undefined) print(await talk.json(whole));
      return whole;
    }
    const view = new AnswerView({
      write: printPiece,
      remark: tell,
      colours: colours(process.stdout),
      thinking: command.thinking !== "hide",
    });
    const whole = await keyboard.during((signal) => talk.answer(message, signal, (event) => view.show(event)));
    view.end(whole);
    return whole;
  };

  const { modelId, quantization, sink, window } = first.chat.runtime;
  const { historyTokens } = await first.info();
  const past = historyTokens === 0 ? "" : `; ${historyTokens.toLocaleString("en-US")} tokens were said before`;
  tell(`${oneLine(modelId)} ${quantization}, ${sink}+${window} tokens cached${past}. /help says what else there is.`);
  for (;;) {
    const key = await message(keyboard);
    if (key.kind === "end") break;
    if (key.kind === "interrupt") {
      if (++interrupts > 1) {
        await talks.leave(talk);
        return exit.interrupted;
      }
      tell("Ctrl-C once more, or /quit, ends the conversation");
      continue;
    }
    interrupts = 0;
    const line = readLine(key.text);
    if (line.kind === "command" && line.name === "quit") break;
    try {
      if (line.kind === "message" && (await answer(line.text))?.stopReason === "cancelled") interrupts = 1;
      if (line.kind === "command" && line.name !== "quit") await commands[line.name]();
      if (line.kind === "unknown")
        tell(oneLine(`there is no /${line.name}; /help names what there is, //${line.name} is sent`));
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      say(`kakeya: ${plainLines(why)}${error instanceof SessionNotFound ? "; /new starts another conversation" : ""}`);
    }
  }
  await talks.leave(talk);
  return exit.done;
}

/** A line, or several of which all but the last end with a backslash. */
async function message(keyboard: Keyboard): ReturnType<Keyboard["next"]> {
  const lines: string[] = [];
  for (;;) {
    const key = await keyboard.next(lines.length === 0 ? "> " : "… ");
    if (key.kind !== "line") return key;
    lines.push(key.text.replace(/\\$/, ""));
    if (!key.text.endsWith("\\")) return { kind: "line", text: lines.join("\n") };
  }
}
