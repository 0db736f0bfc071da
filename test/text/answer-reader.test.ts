import { describe, expect, test } from "bun:test";
import type { AnswerEvent } from "../../src/text/answer-parser.ts";
import { AnswerReader, type AnswerReaderOptions } from "../../src/text/answer-reader.ts";
import { loadTokenizer } from "../../src/text/tokenizer.ts";
import { modelDirs } from "./real-models.ts";

const qwen = loadTokenizer(modelDirs.qwen3 ?? "");
const llama = loadTokenizer(modelDirs.llama3_2 ?? "");

/** What comes of an answer's ids, until a stop string. */
function read(answer: string, options: AnswerReaderOptions = {}, tokenizer = qwen) {
  const reader = new AnswerReader(tokenizer, options);
  const events: AnswerEvent[] = [];
  for (const id of tokenizer.encode(answer)) {
    events.push(...reader.push(id));
    if (reader.stoppedBy !== undefined) break;
  }
  events.push(...reader.end());
  const textOf = (type: AnswerEvent["type"]) =>
    events.map((event) => (event.type === type && "text" in event ? event.text : "")).join("");
  const calls = events.flatMap((event) =>
    event.type === "tool_call_done" ? [`${event.name} ${event.arguments}`] : [],
  );
  return { text: textOf("text"), reasoning: textOf("reasoning"), calls, stoppedBy: reader.stoppedBy };
}

describe("An answer's ids", () => {
  test("become thinking, text and calls; its end token has no text", () => {
    const answer =
      '<think>\nHm 🌍.\n</think>\n\nI look.\n<tool_call>\n{"name": "w", "arguments": {}}\n</tool_call><|im_end|>';
    expect(read(answer, { tools: ["w"] })).toEqual({
      text: "I look.",
      reasoning: "Hm 🌍.",
      calls: ["w {}"],
      stoppedBy: undefined,
    });
  });

  test("show a marker that the tokenizer calls special", () => {
    const answer = '<|python_tag|>{"name": "w", "parameters": {"a": 1}}<|eom_id|>';
    expect(read(answer, { tools: ["w"] }, llama)).toMatchObject({ text: "", calls: ['w {"a": 1}'] });
  });

  test("end at a stop string in the text, not in the thinking", () => {
    const answer = "<think>\nFirst: one. Stop.\n</think>\n\nTwo. Stop. Three.";
    expect(read(answer, { stops: [" Stop."] })).toEqual({
      text: "Two.",
      reasoning: "First: one. Stop.",
      calls: [],
      stoppedBy: " Stop.",
    });
  });

  test("give out what was held back, at the end and before a call", () => {
    expect(read("One. Sto", { stops: [" Stop."] }).text).toBe("One. Sto");
    const call = '<tool_call>{"name": "w", "arguments": {}}</tool_call>';
    expect(read(`One. Sto${call}`, { stops: [" Stop."], tools: ["w"] })).toMatchObject({
      text: "One. Sto",
      calls: ["w {}"],
    });
  });
});
