import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { readEosTokenIds } from "../../src/checkpoint/eos.ts";
import { ModelError } from "../../src/checkpoint/model-error.ts";
import { ChatTemplate, loadChatTemplate } from "../../src/text/chat-template.ts";
import type { ChatMessage, Tool } from "../../src/text/messages.ts";
import { TemplateError } from "../../src/text/template-error.ts";
import { loadTokenizer, type Tokenizer } from "../../src/text/tokenizer.ts";
import { scratchDir } from "../scratch.ts";
import { modelDirs } from "./real-models.ts";

interface Model {
  template: ChatTemplate;
  tokenizer: Tokenizer;
  /** What the model writes at the end of an answer. */
  end: string;
  call(name: string, args: string): string;
}

const qwenCall = (name: string, args: string) => `<tool_call>\n{"name": "${name}", "arguments": ${args}}\n</tool_call>`;
const llamaCall = (name: string, args: string) => `{"name": "${name}", "parameters": ${args}}`;

function model(name: string, end: string, call: Model["call"] = qwenCall): Model {
  const dir = modelDirs[name] ?? "";
  const tokenizer = loadTokenizer(dir);
  return {
    template: loadChatTemplate(dir, tokenizer, readEosTokenIds(dir, tokenizer.vocabSize).ids),
    tokenizer,
    end,
    call,
  };
}

const models = {
  "kakeya-tiny": model("kakeya-tiny", "<|im_end|>"),
  qwen2_5: model("qwen2_5", "<|im_end|>"),
  llama3_2: model("llama3_2", "<|eot_id|>", llamaCall),
  qwen3: model("qwen3", "<|im_end|>"),
};

const fromData: Record<string, { source: string; tokens: Record<string, string> }> = JSON.parse(
  readFileSync(join(import.meta.dir, "data/templates.json"), "utf8"),
);

function templateOf(source: string, tokens: Record<string, string> = {}, endTokens: string[] = []): ChatTemplate {
  return new ChatTemplate({ file: "test", source, sourceWithTools: source, specialTokens: tokens }, endTokens);
}

function templateOfData(name: string): ChatTemplate {
  const { source, tokens } = fromData[name] ?? { source: "", tokens: {} };
  return templateOf(source, tokens, ["</s>"]);
}

const user = (content: string): ChatMessage => ({ role: "user", content });
const system = (content: string): ChatMessage => ({ role: "system", content });
const assistant = (content: string): ChatMessage => ({ role: "assistant", content });

/** The text of a message that no template changes: Llama's trims, Qwen's looks for tool responses and thinking. */
const plainText = fc.string({ unit: "grapheme", maxLength: 30 }).map((text) => `x${text}x`.replace(/[<>]/g, "-"));

/** A turn: the messages that are new, and the answer to them. */
interface Turn {
  messages: ChatMessage[];
  answer: ChatMessage;
  /** The answer as the model generates it. */
  generated: string;
}

function turns(call: Model["call"], withTools: boolean, withSystem: boolean): fc.Arbitrary<Turn[]> {
  const spoken = plainText.map((text) => ({ answer: assistant(text), generated: text, asksTool: false }));
  const called = fc.constantFrom("f", "get_weather").map((name) => ({
    answer: {
      role: "assistant",
      content: "",
      toolCalls: [{ id: "call00001", name, arguments: '{"a": 1}' }],
    } satisfies ChatMessage as ChatMessage,
    generated: call(name, '{"a": 1}'),
    asksTool: true,
  }));
  const answers = fc.array(withTools ? fc.oneof(spoken, called) : spoken, { minLength: 1, maxLength: 5 });
  const questions = fc.array(fc.record({ text: plainText, later: fc.boolean() }), { minLength: 5, maxLength: 5 });
  return fc.tuple(answers, questions, fc.boolean()).map(([given, asked, first]) =>
    given.map(({ answer, generated }, index) => {
      const { text = "", later = false } = asked[index] ?? {};
      const afterCall = given[index - 1]?.asksTool === true;
      const messages: ChatMessage[] = afterCall
        ? [{ role: "tool", content: text, toolCallId: "call00001", name: "f" }]
        : [...(withSystem && (index === 0 ? first : later) ? [system(`s${text}s`)] : []), user(text)];
      return { messages, answer, generated };
    }),
  );
}

/** The conversation up to its last question, as a session's history comes to hold it. */
function appended(template: ChatTemplate, all: readonly Turn[], end: string): string {
  return all
    .map(({ messages, generated }, index) => {
      const previous = all[index - 1];
      const answerWas = index % 2 === 0 ? "ended" : "cut";
      const text = previous === undefined ? template.render(messages) : template.delta(messages, { answerWas });
      const isLast = index === all.length - 1;
      // The end token of an answer that ended is in the history; of one that was cut off it is not.
      return text + (isLast ? "" : generated + (index % 2 === 1 ? end : ""));
    })
    .join("");
}

function whole(template: ChatTemplate, all: readonly Turn[]): string {
  return template.render(
    all.flatMap(({ messages, answer }, i) => [...messages, ...(i < all.length - 1 ? [answer] : [])]),
  );
}

describe("First prompt, answers and deltas put together are the whole conversation rendered at once, for", () => {
  test.each([
    ["kakeya-tiny", models["kakeya-tiny"].template, "<|im_end|>", { tools: false, system: true }],
    ["qwen2_5", models.qwen2_5.template, "<|im_end|>", { tools: true, system: true }],
    ["llama3_2", models.llama3_2.template, "<|eot_id|>", { tools: true, system: true }],
    ["qwen3", models.qwen3.template, "<|im_end|>", { tools: false, system: true }],
    ["mistral-0.2", templateOfData("mistral-0.2"), "</s>", { tools: false, system: false }],
    ["zephyr", templateOfData("zephyr"), "</s>", { tools: false, system: true }],
  ])("%s", (name, template, end, { tools, system: withSystem }) => {
    const call = name === "llama3_2" ? llamaCall : qwenCall;
    fc.assert(
      fc.property(turns(call, tools, withSystem), (all) => {
        expect(appended(template, all, end)).toBe(whole(template, all));
      }),
    );
  });

  test.each(Object.entries(models))("%s, token by token", (_, { template, tokenizer, end }) => {
    const first = template.render([user("What is a sink?")]);
    const delta = template.delta([user("And a window?")], { answerWas: "ended" });
    const answer = `The first tokens.${end}`;
    const apart = [first, answer, delta].flatMap((text) => [...tokenizer.encode(text)]);
    expect(apart).toEqual([...tokenizer.encode(first + answer + delta)]);
  });
});

test("kakeya-tiny's template writes, turn by turn, the prompts that its answers were recorded with", () => {
  const golden: { turns: { question: string; prompt_ids: number[] }[] } = JSON.parse(
    readFileSync(join(import.meta.dir, "../golden/kakeya-tiny.json"), "utf8"),
  );
  const { template, tokenizer } = models["kakeya-tiny"];
  for (const [turn, { question, prompt_ids }] of golden.turns.entries()) {
    const messages = [user(question)];
    const text = turn === 0 ? template.render(messages) : template.delta(messages, { answerWas: "ended" });
    expect([...tokenizer.encode(text)]).toEqual(prompt_ids);
  }
  expect(golden.turns.length).toBeGreaterThan(1);
});

describe("A delta", () => {
  const { template } = models.qwen3;

  test("of Qwen3 leaves the history's thinking alone, which its rendering would drop", () => {
    const delta = template.delta([user("And 3 + 3?")], { answerWas: "ended" });
    expect(delta).toBe("\n<|im_start|>user\nAnd 3 + 3?<|im_end|>\n<|im_start|>assistant\n");
    const thought = "<think>\nTwo and two.\n</think>\n\n4";
    const history = [user("2 + 2?"), assistant(thought), user("And 3 + 3?")];
    expect(template.render(history)).not.toContain("Two and two");
  });

  test("closes an answer that was cut off, and one that ended by another of the model's end tokens only once", () => {
    const next = "<|im_start|>user\nGo on<|im_end|>\n<|im_start|>assistant\n";
    expect(template.delta([user("Go on")], { answerWas: "cut" })).toBe(`<|im_end|>\n${next}`);
    const two = templateOf("{% for m in messages %}{{ m.content }} </s>{% endfor %}", {}, ["<eot>", "</s>"]);
    expect(two.delta([user("Go on")], { answerWas: "ended" })).toBe("Go on </s>");
    expect(two.delta([user("Go on")], { answerWas: "cut" })).toBe(" </s>Go on </s>");
  });

  test("holds several new messages: results of tools, a question, instructions", () => {
    const results = ["rain", "sun"].map(
      (content, i): ChatMessage => ({ role: "tool", content, toolCallId: `call0000${i}`, name: "w" }),
    );
    expect(template.delta([...results, system("Be brief."), user("So?")], { answerWas: "ended" })).toBe(
      "\n<|im_start|>user\n<tool_response>\nrain\n</tool_response>\n<tool_response>\nsun\n</tool_response><|im_end|>\n" +
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nSo?<|im_end|>\n<|im_start|>assistant\n",
    );
    const llama = models.llama3_2.template.delta(results.slice(0, 1), { answerWas: "ended", tools: [weather] });
    expect(llama).toBe(
      '<|start_header_id|>ipython<|end_header_id|>\n\n"rain"<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n',
    );
  });

  test("holds answers, too, when a client brings turns that the session has not seen", () => {
    const delta = template.delta([user("a"), assistant("b"), user("c")], { answerWas: "ended" });
    expect(delta).toBe(
      "\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n" +
        "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n",
    );
  });

  test("takes the template's own variables", () => {
    const delta = template.delta([user("Hi")], { answerWas: "ended", variables: { enable_thinking: false } });
    expect(delta).toEndWith("<|im_start|>assistant\n<think>\n\n</think>\n\n");
  });

  test("does not begin at a text that looks like our sentinel", () => {
    const text = "kakeyaSentinel kakeyaSentinelX kakeyaSentinelXXX";
    expect(template.delta([user(text)], { answerWas: "ended" })).toContain(`user\n${text}<|im_end|>`);
  });

  test("repeats what the template writes with the last message", () => {
    const last = templateOf(
      "{% for m in messages %}{% if m.role == 'system' %}{% set _ = 1 %}{% elif loop.last and messages[0].role == 'system' %}" +
        "[{{ messages[0].content }}] {{ m.content }}{% else %}{{ m.content }}{% endif %}{% endfor %}",
    );
    expect(last.delta([user("Hi")], { answerWas: "ended", system: "Be brief." })).toBe("[Be brief.] Hi");
  });
});

const weather: Tool = { name: "get_weather", description: "Weather", parameters: { type: "object", properties: {} } };

describe("A call in the history", () => {
  const called = (id: string): ChatMessage[] => [
    user("Weather?"),
    { role: "assistant", content: "", toolCalls: [{ id, name: "w", arguments: '{"city": "Oslo"}' }] },
    { role: "tool", content: "sun", toolCallId: id, name: "w" },
  ];
  const each = (body: string) =>
    templateOf(
      `{% for m in messages %}{% if m.tool_calls %}{% for c in m.tool_calls %}${body}{% endfor %}{% endif %}` +
        "{% if m.role == 'tool' %}{{ m.tool_call_id }}:{{ m.content }}{% endif %}{% endfor %}",
    );

  test("is given as the template writes it: as an object, or as its text", () => {
    const byJson = each("{{ c.function.arguments | tojson }}");
    const asText = each("{{ 'json' + c.function.arguments }}");
    const messages = called("call00001").slice(0, 2);
    expect(byJson.render(messages)).toBe('{"city": "Oslo"}');
    expect(asText.render(messages)).toBe('json{"city": "Oslo"}');
    expect(models.qwen3.template.render(messages)).toContain('"arguments": {"city": "Oslo"}}');
  });

  test("has an id of nine letters and digits, which Mistral insists on, and its result the same", () => {
    const ids = each("{{ c.id }}=");
    expect(ids.render([...called("call00001"), user("")])).toBe("call00001=call00001:sun");
    expect(ids.render([...called("call_a-long-one"), user("")])).toMatch(/^([0-9a-f]{9})=\1:sun$/);
  });
});

describe("Special tokens", () => {
  test("are those of the template, once: no other <|begin_of_text|> comes before Llama's", () => {
    const { template, tokenizer } = models.llama3_2;
    const ids = [...tokenizer.encode(template.render([user("Hi")]))];
    expect(ids[0]).toBe(128000);
    expect(ids.filter((id) => id === 128000)).toHaveLength(1);
    expect(ids.slice(-4)).toEqual([128006, 78191, 128007, 271]);
    expect(tokenizer.tokenText(128009)).toBe("<|eot_id|>");
  });

  test("of Qwen3 are one token each, also where it writes them itself", () => {
    const { template, tokenizer } = models.qwen3;
    const ids = [...tokenizer.encode(template.render([user("Hi")], { variables: { enable_thinking: false } }))];
    expect(ids).toEqual([151644, 872, 198, 13048, 151645, 198, 151644, 77091, 198, 151667, 271, 151668, 271]);
  });
});

describe("A conversation is refused, in words, when", () => {
  const tiny = models["kakeya-tiny"].template;

  test("the template would leave tools, their results or instructions out", () => {
    expect(() => tiny.render([user("Hi")], { tools: [weather] })).toThrow(
      "the model's chat template does not write tools",
    );
    expect(tiny.takesTools).toBe(false);
    expect(models.llama3_2.template.takesTools).toBe(true);
    const result: ChatMessage = { role: "tool", content: "1", toolCallId: "call00001" };
    expect(() => templateOfData("zephyr").delta([result], { answerWas: "ended" })).toThrow(
      "does not write the results of tools",
    );
    const deaf = templateOf("{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}");
    expect(() => deaf.render([system("Be brief."), user("Hi")])).toThrow("does not write a system message");
    expect(() => deaf.render([user("Hi"), assistant("Ho"), system("Be brief."), user("Hi")])).toThrow(
      "does not write a system message in the middle of a conversation",
    );
  });

  test("the template would move it to the beginning, which the session has behind it", () => {
    const hoists = templateOf(
      "{% for m in messages if m.role == 'system' %}{{ m.content }}|{% endfor %}" +
        "{% for m in messages if m.role != 'system' %}{{ m.content }}|{% endfor %}",
    );
    const later = [system("Be brief."), user("Hi")];
    expect(hoists.render(later)).toBe("Be brief.|Hi|");
    expect(hoists.render([user("Hi"), assistant("Ho"), ...later])).toBe("Be brief.|Hi|Ho|Hi|");
    expect(() => hoists.delta(later, { answerWas: "ended" })).toThrow(
      "a system message in the middle of a conversation",
    );
  });

  test("the template itself refuses it", () => {
    expect(() => templateOfData("mistral-0.2").render([system("Be brief."), user("Hi")])).toThrow(
      "refuses these messages: Conversation roles must alternate user/assistant/user/assistant/...",
    );
  });

  test("it is empty", () => {
    expect(() => tiny.render([])).toThrow("there is no message to answer");
  });
});

describe("A model's template", () => {
  function load(files: Record<string, unknown>): ChatTemplate {
    using scratch = scratchDir();
    for (const [name, content] of Object.entries(files)) {
      writeFileSync(join(scratch.path, name), typeof content === "string" ? content : JSON.stringify(content));
    }
    return loadChatTemplate(scratch.path, models["kakeya-tiny"].tokenizer, []);
  }

  test("is chat_template.jinja before tokenizer_config.json", () => {
    const template = load({ "chat_template.jinja": "jinja", "tokenizer_config.json": { chat_template: "config" } });
    expect(template.render([user("Hi")])).toBe("jinja");
  });

  test("is that for tools, of a list of named ones, where tools are offered", () => {
    const named = [
      { name: "tool_use", template: "{{ tools[0].function.name }}" },
      { name: "default", template: "{{ messages[0].content }}" },
    ];
    const template = load({ "tokenizer_config.json": { chat_template: named } });
    expect(template.render([user("Hi")])).toBe("Hi");
    expect(template.render([user("Hi")], { tools: [weather] })).toBe("get_weather");
  });

  test("gets the special tokens by name, written as texts or objects", () => {
    const template = load({
      "tokenizer_config.json": {
        bos_token: { content: "<s>" },
        eos_token: "</s>",
        additional_special_tokens: ["<a>", { content: "<b>" }],
        chat_template: "{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ additional_special_tokens[1] }}",
      },
    });
    expect(template.render([user("Hi")])).toBe("<s></s><b>");
  });

  test("that is not there is refused, with the files that lack it", () => {
    const message =
      /has no chat template: there is no chat_template\.jinja, and tokenizer_config\.json has no chat_template\. Use the chat or instruct version/;
    expect(() => load({})).toThrow(message);
    expect(() => load({ "tokenizer_config.json": { chat_template: null } })).toThrow(message);
  });

  test("of whatever content is read, or refused by its file", () => {
    const configs = fc.record(
      { chat_template: fc.oneof(fc.jsonValue(), fc.array(fc.jsonValue()), fc.string()), bos_token: fc.jsonValue() },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(configs, (config) => {
        try {
          load({ "tokenizer_config.json": config }).render([user("Hi")]);
        } catch (error) {
          expect(error instanceof ModelError || error instanceof TemplateError).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });

  test("that can't be used is refused, with its file", () => {
    expect(() => load({ "chat_template.jinja": "{% if %}" })).toThrow(
      /chat_template\.jinja: its chat template is no Jinja/,
    );
    expect(() => load({ "tokenizer_config.json": { chat_template: [{ name: "x" }] } })).toThrow(
      /tokenizer_config\.json: chat_template holds \{"name":"x"\}, not a template with its name/,
    );
  });
});
