import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { compileTemplate } from "../../src/text/jinja.ts";
import { readTemplateFile } from "../../src/text/template-file.ts";
import { modelDirs } from "./real-models.ts";

interface Recorded {
  template: string;
  conversation: string;
  text?: string;
  error?: string;
}
interface Message {
  tool_calls?: { function: { arguments: unknown } }[];
}
interface Conversation {
  messages: Message[];
  tools?: unknown[];
  variables?: Record<string, unknown>;
}

const data = (name: string) => JSON.parse(readFileSync(join(import.meta.dir, "data", name), "utf8"));
const recorded: Recorded[] = data("renderings.json");
const conversations: Record<string, Conversation> = data("conversations.json");
const given: Record<string, { source: string; tokens: Record<string, string> }> = data("templates.json");

/** When the recordings were made, on their clock. */
const now = new Date(2026, 2, 5, 14, 7, 9);

function templateOf(name: string): { source: string; tokens: Readonly<Record<string, unknown>> } {
  const dir = modelDirs[name];
  if (dir === undefined) return given[name] ?? { source: "", tokens: {} };
  const { source, specialTokens } = readTemplateFile(dir);
  return { source, tokens: specialTokens };
}

/** A call's arguments as transformers gives them to a template. */
function parsedArguments(message: Message): unknown {
  if (message.tool_calls === undefined) return message;
  const calls = message.tool_calls.map((call) => ({
    ...call,
    function: { ...call.function, arguments: JSON.parse(String(call.function.arguments)) },
  }));
  return { ...message, tool_calls: calls };
}

describe("A chat template renders as Python's jinja2 does:", () => {
  test.each(recorded.map((each) => [each.template, each.conversation, each] as const))(
    "%s, %s",
    (name, _, expected) => {
      const { source, tokens } = templateOf(name);
      const { messages, tools, variables } = conversations[expected.conversation] ?? { messages: [] };
      const values = {
        ...tokens,
        ...variables,
        messages: messages.map(parsedArguments),
        tools: tools ?? null,
        documents: null,
        add_generation_prompt: true,
      };
      const render = compileTemplate(source);
      if (expected.error === undefined) expect(render(values, now)).toBe(expected.text ?? "");
      else expect(() => render(values, now)).toThrow(expected.error);
    },
  );

  test("the recordings hold every template with every conversation", () => {
    const templates = [...Object.keys(modelDirs), ...Object.keys(given)];
    expect(recorded.length).toBe(templates.length * Object.keys(conversations).length);
  });
});

describe("A date in a template", () => {
  const write = (format: string, date: Date) => compileTemplate(`{{ strftime_now('${format}') }}`)({}, date);

  test("is English, whatever the machine's language", () => {
    expect(write("%A %a %B %b %d %m %y %Y", new Date(2026, 4, 3))).toBe("Sunday Sun May May 03 05 26 2026");
    expect(write("%H %I %p %M %S 100%%", new Date(2026, 0, 1, 0, 5, 6))).toBe("00 12 AM 05 06 100%");
    expect(write("%I %p", new Date(2026, 0, 1, 13))).toBe("01 PM");
  });

  test("in a directive that is not known is an error that names it", () => {
    expect(() => write("%Q", now)).toThrow('strftime_now does not know "%Q"');
    expect(() => write("100%", now)).toThrow('strftime_now does not know "%"');
  });
});

test("A template that is no Jinja is refused when it is compiled", () => {
  expect(() => compileTemplate("{% for m in messages %}")).toThrow();
  expect(() => compileTemplate("{{ 1 +")).toThrow();
});
