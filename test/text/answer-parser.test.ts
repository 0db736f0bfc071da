import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  type AnswerEvent,
  AnswerParser,
  type AnswerParserOptions,
  answerMarkers,
  opensThinking,
} from "../../src/text/answer-parser.ts";
import { loadTokenizer } from "../../src/text/tokenizer.ts";
import { modelDirs } from "./real-models.ts";
import { splits } from "./splits.ts";

const withTools: AnswerParserOptions = { tools: ["get_weather", "now"] };

/** The events of an answer, neighbouring pieces of the same kind joined. */
function parse(pieces: string | string[], options: AnswerParserOptions = {}): AnswerEvent[] {
  const parser = new AnswerParser(options);
  const events = [...[pieces].flat().flatMap((piece) => parser.push(piece)), ...parser.end()];
  return joined(events);
}

function joined(events: AnswerEvent[]): AnswerEvent[] {
  const all: AnswerEvent[] = [];
  for (const event of events) {
    const last = all.at(-1);
    const isMore =
      last !== undefined && last.type === event.type && (event.type === "text" || event.type === "reasoning");
    if (isMore && "text" in last) all[all.length - 1] = { type: event.type, text: last.text + event.text };
    else all.push(event);
  }
  return all;
}

const text = (content: string): AnswerEvent => ({ type: "text", text: content });
const reasoning = (content: string): AnswerEvent => ({ type: "reasoning", text: content });
const call = (index: number, name: string, args: string): AnswerEvent[] => [
  { type: "tool_call", index, name },
  { type: "tool_call_arguments", index, text: args },
  { type: "tool_call_done", index, name, arguments: args },
];
const tagged = (name: string, args: string) => `<tool_call>\n{"name": "${name}", "arguments": ${args}}\n</tool_call>`;

describe("Plain text", () => {
  test("comes out as it is, at once", () => {
    const parser = new AnswerParser();
    expect(parser.push("  Hello")).toEqual([text("  Hello")]);
    expect(parser.push(", <b>\n")).toEqual([text(", <b>\n")]);
    expect(parser.end()).toEqual([]);
  });

  test("is what looks like a call where no tool was offered", () => {
    for (const answer of [tagged("now", "{}"), '{"name": "now", "parameters": {}}']) {
      expect(parse(answer)).toEqual([text(answer)]);
    }
  });

  test("is a JSON answer that calls no function that was offered", () => {
    for (const answer of ['{"name": "Ada", "age": 36}', '{"a": [1, {"b": "}"}]}\nThat is it.', "{not json}", "{"]) {
      expect(parse(answer, withTools)).toEqual([text(answer)]);
    }
  });

  test("is <think> after the first word", () => {
    expect(parse("The tag <think> opens </think>")).toEqual([text("The tag <think> opens </think>")]);
  });

  test("is held back only while it may be the beginning of a call", () => {
    const parser = new AnswerParser(withTools);
    expect(parser.push("a < b \n<tool")).toEqual([text("a < b")]);
    expect(parser.push("box>")).toEqual([text(" \n<toolbox>")]);
  });
});

describe("Thinking", () => {
  test("is a part of its own, without the white space of its format", () => {
    expect(parse("<think>\nTwo and two.\n</think>\n\n4, I think.\n")).toEqual([
      reasoning("Two and two."),
      text("4, I think.\n"),
    ]);
    expect(parse("\n<think> a </b> c")).toEqual([reasoning("a </b> c")]);
  });

  test("that is empty is none", () => {
    expect(parse("<think>\n\n</think>\n\nHi")).toEqual([text("Hi")]);
  });

  test("streams as it comes", () => {
    const parser = new AnswerParser();
    expect(parser.push("<think>\nLet me")).toEqual([reasoning("Let me")]);
    expect(parser.push(" see</thi")).toEqual([reasoning(" see")]);
    expect(parser.push("nk>\n\n")).toEqual([]);
    expect(parser.push("So")).toEqual([text("So")]);
  });

  test("has begun already where the prompt opened it", () => {
    expect(opensThinking("<|im_start|>assistant\n<think>\n")).toBe(true);
    expect(opensThinking("<|im_start|>assistant\n<think>\n\n</think>\n\n")).toBe(false);
    expect(opensThinking("What is <think>?<|im_end|>\n<|im_start|>assistant\n")).toBe(false);
    expect(parse("Hm.\n</think>\nYes.", { inThinking: true })).toEqual([reasoning("Hm."), text("Yes.")]);
  });
});

describe("Calls", () => {
  test("of Qwen and Hermes may follow thinking and text, and each other", () => {
    const answer = `<think>\nI look.\n</think>\n\nOne moment.\n${tagged("get_weather", '{"city": "Z\\u00fcrich", "n": 1.0}')}\n${tagged("unheard_of", "{}")}\n`;
    expect(parse(answer, withTools)).toEqual([
      reasoning("I look."),
      text("One moment."),
      ...call(0, "get_weather", '{"city": "Z\\u00fcrich", "n": 1.0}'),
      ...call(1, "unheard_of", "{}"),
    ]);
  });

  test("of Llama stand in place of the answer, with or without <|python_tag|>", () => {
    const answer = '{"name": "get_weather", "parameters": {"city": "Oslo"}}';
    const expected = call(0, "get_weather", '{"city": "Oslo"}');
    for (const before of ["", "\n", "<|python_tag|>", "<|python_tag|> "]) {
      expect(parse(before + answer, withTools)).toEqual(expected);
    }
    expect(parse(`${answer}; {"name": "now", "parameters": {}}`, withTools)).toEqual([
      ...expected,
      ...call(1, "now", "{}"),
    ]);
  });

  test("of Mistral are a list in place of the answer", () => {
    const list = '[{"name": "get_weather", "arguments": {"city": "Oslo"}}, {"name": "now", "arguments": {}}]';
    const expected = [...call(0, "get_weather", '{"city": "Oslo"}'), ...call(1, "now", "{}")];
    expect(parse(`[TOOL_CALLS]${list}`, withTools)).toEqual(expected);
    expect(parse(`[TOOL_CALLS] ${list}\n`, withTools)).toEqual(expected);
    expect(parse(`[TOOL_CALLS]${list} So.`, withTools)).toEqual([...expected, text("So.")]);
    for (const answer of [list, "[TOOL_CALLS][1, 2]", "[TOOL_CALLS]", "[TOOL", '[TOOL_CALLS][{"name": "x"}]']) {
      expect(parse(answer, withTools)).toEqual([text(answer)]);
    }
  });

  test("keep the arguments as the model wrote them", () => {
    const args =
      '{"id": 12345678901234567890, "x": 1.50, "text": "</tool_call> {\\"a\\": \\"}\\"}", "n": {"name": [{}]}}';
    expect(parse(tagged("f", args), withTools)).toEqual(call(0, "f", args));
  });

  test("may leave empty arguments out, or quote them", () => {
    expect(parse('<tool_call>{"name": "now"}</tool_call>', withTools)).toEqual(call(0, "now", "{}"));
    expect(parse('<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}</tool_call>', withTools)).toEqual(
      call(0, "f", '{"a": 1}'),
    );
  });

  test("do without their closing tag at the end of the answer", () => {
    expect(parse('<tool_call>\n{"name": "now", "arguments": {}}', withTools)).toEqual(call(0, "now", "{}"));
    expect(parse('<tool_call>\n{"name": "now", "arguments": {}}\n</tool', withTools)[2]).toEqual(
      call(0, "now", "{}")[2],
    );
  });

  test.each([
    "<tool_call>\nnow()\n</tool_call>",
    '<tool_call>\n{"name": "now", "arguments": {}\n</tool_call> and on',
    '<tool_call>{"name": "now", "arguments": [1]}</tool_call>',
    '<tool_call>{"name": 1, "arguments": {}}</tool_call>',
    "<tool_call>{'name': 'now'}</tool_call>",
    '<tool_call>{"name" "now"}</tool_call>',
    "So:\n\n<tool_call>\n",
    'So:  <tool_call>  {"name": "get_wea',
    "<tool_call>",
    "<tool_",
  ])("that are malformed or never end come out as the text they are: %j", (answer) => {
    expect(parse(answer, withTools)).toEqual([text(answer)]);
  });

  test("that follow a malformed one are taken all the same", () => {
    const bad = "<tool_call>\nnow()\n</tool_call>";
    expect(parse(`${bad}\n${tagged("now", "{}")}`, withTools)).toEqual([text(bad), ...call(0, "now", "{}")]);
  });
});

describe("Whatever the pieces", () => {
  const parts = fc.constantFrom(
    ...answerMarkers,
    tagged("now", "{}"),
    tagged("get_weather", '{"city": "a } \\" </tool_call> b", "n": [1, {"c": null}]}'),
    '{"name": "now", "parameters": {"a": "{"}}',
    '{"name": "nobody", "parameters": {}}',
    '{"name": "now", "arguments": ',
    '[{"name": "now", "arguments": {}}, {"name": "get_weather", "arguments": {"city": "b"}}]',
    "[",
    "]",
    ",",
    "{",
    "}",
    '"',
    ";",
    "\n",
    "\n\n",
    " ",
    "<",
    "</",
    "text",
    "🌍 über",
  );
  const answers = fc.array(parts, { maxLength: 8 }).map((all) => all.join(""));
  const options = fc.constantFrom<AnswerParserOptions>({}, withTools, { ...withTools, inThinking: true });
  const cases = answers.chain((answer) => fc.tuple(fc.constant(answer), splits(answer)));

  test("the events are those of the whole answer", () => {
    fc.assert(
      fc.property(cases, options, ([answer, pieces], given) => {
        expect(parse(pieces, given)).toEqual(parse(answer, given));
      }),
      { numRuns: 5000 },
    );
  });

  test("nothing is lost: every word of an answer is in one of its events", () => {
    const shown = (event: AnswerEvent): string => {
      if (event.type === "text" || event.type === "reasoning") return event.text;
      return event.type === "tool_call_done" ? `${event.name} ${event.arguments}` : "";
    };
    const count = (word: string, within: string) => within.split(word).length - 1;
    fc.assert(
      fc.property(answers, (answer) => {
        const events = parse(answer, withTools);
        const all = events.map(shown).join("|");
        for (const word of ["text", "über", "city", "nobody"]) expect(count(word, all)).toBe(count(word, answer));
        const emptyThinking = /^\s*<think>\s*(<\/think>\s*)?/;
        if (events.length === 1 && events[0]?.type === "text") {
          expect(all.trim()).toBe(answer.replace(emptyThinking, "").trim());
        }
      }),
      { numRuns: 5000 },
    );
  });

  test.each(["qwen3", "qwen2_5", "llama3_2"])("%s's tokens, decoded one by one, give the same events", (name) => {
    const tokenizer = loadTokenizer(modelDirs[name] ?? "");
    fc.assert(
      fc.property(answers, options, (answer, given) => {
        const decoder = tokenizer.decoder(answerMarkers);
        const pieces = Array.from(tokenizer.encode(answer), (id) => decoder.push(id));
        expect(parse([...pieces, decoder.flush()], given)).toEqual(parse(answer, given));
      }),
      { numRuns: 300 },
    );
  });
});
