import type { Answer, AnswerEvent } from "../chat/index.ts";
import { plainPiece } from "../cli/plain-text.ts";

export interface AnswerViewOptions {
  write: (text: string) => void;
  /** A line about the answer that is no part of it. */
  remark: (line: string) => void;
  colours: boolean;
  thinking: boolean;
}

const dim = "\x1b[2m";
const undim = "\x1b[22m";

/** An answer as a person reads it while it comes: thinking dimmed, or between headings where there are no colours. */
export class AnswerView {
  #part: "nothing" | "reasoning" | "text" = "nothing";

  constructor(private readonly options: AnswerViewOptions) {}

  show(event: AnswerEvent): void {
    if (event.type === "reasoning" && this.options.thinking) this.#go("reasoning", event.text);
    if (event.type === "text") this.#go("text", event.text);
  }

  /** Ends the line. @param answer undefined when it failed */
  end(answer: Pick<Answer, "stopReason" | "answerTokens"> | undefined): void {
    const { write, remark, colours } = this.options;
    if (this.#part === "reasoning" && colours) write(undim);
    write("\n");
    if (answer?.stopReason === "max-tokens") {
      remark(`[the answer was cut off after ${answer.answerTokens} tokens: --max-tokens]`);
    }
    if (answer?.stopReason === "cancelled") remark("[stopped]");
  }

  #go(part: "reasoning" | "text", text: string): void {
    const { write, colours } = this.options;
    if (part !== this.#part) {
      if (part === "reasoning") write(colours ? dim : "thinking:\n");
      else if (this.#part === "reasoning") write(colours ? `${undim}\n\n` : "\n\nanswer:\n");
      this.#part = part;
    }
    write(plainPiece(text));
  }
}
