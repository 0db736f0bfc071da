import { expect, test } from "bun:test";
import type { AnswerEvent } from "../../src/chat/index.ts";
import { AnswerView } from "../../src/terminal/answer-view.ts";

const ended = { stopReason: "eos", answerTokens: 9 } as const;

function shown(options: { colours: boolean; thinking: boolean }, events: AnswerEvent[], end = ended as object): string {
  let written = "";
  const write = (text: string) => {
    written += text;
  };
  const view = new AnswerView({ ...options, write, remark: (line) => write(`${line}\n`) });
  for (const event of events) view.show(event);
  view.end(end as typeof ended);
  return written;
}

const thought: AnswerEvent[] = [
  { type: "reasoning", text: "Well" },
  { type: "reasoning", text: "..." },
  { type: "text", text: "Yes" },
  { type: "text", text: "." },
];

test("thinking is dimmed, between headings where there are no colours, or left out", () => {
  expect(shown({ colours: true, thinking: true }, thought)).toBe("\x1b[2mWell...\x1b[22m\n\nYes.\n");
  expect(shown({ colours: false, thinking: true }, thought)).toBe("thinking:\nWell...\n\nanswer:\nYes.\n");
  expect(shown({ colours: true, thinking: false }, thought)).toBe("Yes.\n");
});

test("thinking that never ended leaves nothing dimmed", () => {
  expect(shown({ colours: true, thinking: true }, thought.slice(0, 1))).toBe("\x1b[2mWell\x1b[22m\n");
});

test("an answer that was cut off says so", () => {
  const end = (stopReason: string) => shown({ colours: false, thinking: true }, [], { stopReason, answerTokens: 9 });
  expect(end("max-tokens")).toContain("[the answer was cut off after 9 tokens: --max-tokens]");
  expect(end("cancelled")).toBe("\n[stopped]\n");
  expect(end("eos")).toBe("\n");
});

test("no command to the terminal comes through, however it was split", () => {
  const hostile = "\x1b]0;title\x07 a\x9b31mb\u202ec\r\x7f\td\n";
  for (const pieces of [[hostile], [...hostile]]) {
    for (const type of ["text", "reasoning"] as const) {
      const events = pieces.map((text) => ({ type, text }));
      const written = shown({ colours: false, thinking: true }, events);
      expect(written.replace("thinking:\n", "")).toBe(" ]0;title  a 31mb c  \td\n\n");
    }
  }
});
