/** What comes from outside: whatever JSON it is, it is read or refused by name, and nothing else happens. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { ApiError } from "../../src/http/api-error.ts";
import { readChatRequest } from "../../src/http/chat-request.ts";
import { readResponseRequest } from "../../src/http/response-request.ts";

const entropy = () => 1n;
const names = ["role", "content", "type", "text", "id", "name", "function", "arguments", "call_id", "output", "tools"];
const words = ["user", "assistant", "tool", "message", "function", "text", "input_text", "function_call", "auto"];

const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(...words),
    fc.jsonValue({ maxDepth: 1 }),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom(...names), tie("value"), { maxKeys: 4 }),
  ),
}));

function readOrRefused(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    expect(error.status).toBeGreaterThanOrEqual(400);
    expect(error.status).toBeLessThan(500);
    expect(error.message.length).toBeLessThan(500);
  }
}

test("a chat completion", () => {
  const fields = ["messages", "tools", "tool_choice", "stop", "metadata", "temperature", "seed", "n", "stream_options"];
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...fields), value), (body) =>
      readOrRefused(() => readChatRequest(body, "m", entropy)),
    ),
    { numRuns: 2000 },
  );
});

test("a response", () => {
  const fields = [
    "input",
    "tools",
    "tool_choice",
    "text",
    "metadata",
    "conversation",
    "max_output_tokens",
    "reasoning",
  ];
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...fields), value), (body) =>
      readOrRefused(() => readResponseRequest(body, "m", entropy, () => undefined)),
    ),
    { numRuns: 2000 },
  );
});
