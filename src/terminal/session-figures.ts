import type { Answer } from "../chat/index.ts";
import { formatBytes } from "../cli/units.ts";
import type { RuntimeInfo, SessionInfo } from "../client/index.ts";

/** What `/stats` counts of the answers given here. Its size does not depend on their number. */
export class AnswerFigures {
  answers = 0;
  /** What would have been computed if each message had come with the whole history. */
  resentTokens = 0;
  first: Answer | undefined;
  last: Answer | undefined;

  /** @param historyTokens after it */
  count(answer: Answer, historyTokens: number): void {
    this.answers++;
    this.resentTokens += historyTokens;
    if (Number.isNaN(answer.totalS) || answer.answerTokens === 0) return;
    this.first ??= answer;
    this.last = answer;
  }
}

/** What a session costs, whatever its length. */
export function sessionFigures(info: SessionInfo, runtime: RuntimeInfo, figures: AnswerFigures): string {
  const cached = Math.min(info.historyTokens, runtime.sink + runtime.window);
  const lines = [
    ["history", `${count(info.historyTokens)} tokens, of which the cache has ${count(cached)}`],
    ["memory", `${formatBytes(info.kvLiveBytes)} in use of ${formatBytes(info.kvSlabBytes)}, which do not grow`],
    ["computed", computed(info, figures)],
  ];
  if (info.replayedTokens > 0) {
    lines.push(["replayed", `${count(info.replayedTokens)} tokens, to bring the session back`]);
  }
  const { first, last } = figures;
  if (first !== undefined && last !== undefined) {
    const both = (what: (answer: Answer) => number) =>
      `${ms(what(last))} in the last answer, ${ms(what(first))} in the first`;
    lines.push(["per token", both(({ totalS, answerTokens }) => totalS / answerTokens)]);
    lines.push(["first token", both(({ firstTokenS }) => firstTokenS)]);
  }
  return lines.map(([name = "", text]) => `${name.padEnd(12)} ${text}`).join("\n");
}

function computed({ computedTokens, historyTokens }: SessionInfo, { answers, resentTokens }: AnswerFigures): string {
  const own = `${count(computedTokens)} tokens${computedTokens === historyTokens ? ", each of the history once" : ""}`;
  if (answers < 2) return own;
  return `${own}; ${count(resentTokens)} if it were sent again for each of the ${count(answers)} answers`;
}

function ms(durationS: number): string {
  return `${Number((durationS * 1000).toPrecision(3))} ms`;
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}
