import { expect, test } from "bun:test";
import { Reading } from "../../src/http/reading.ts";
import { loadTokenizer } from "../../src/text/tokenizer.ts";
import { modelDirs } from "../text/real-models.ts";

const tokenizer = loadTokenizer(modelDirs.qwen3 ?? "");

function read(answer: string, stop: string[]) {
  const reading = new Reading({ tokenizer, eosTokenIds: [], stop, tools: ["w"], prompt: "" });
  for (const tokenId of tokenizer.encode(answer)) {
    reading.push({ kind: "token", tokenId });
    if (reading.isOver) break;
  }
  reading.end();
  return { ...reading.message, finish: reading.finish, reasoningTokens: reading.reasoningTokens };
}

test("a stop string ends an answer in its text, not in its thinking", () => {
  const answer = "<think>\nFirst: one. Stop.\n</think>\n\nTwo. Stop. Three.";
  const { reasoningTokens, ...said } = read(answer, [" Stop."]);
  expect(said).toEqual({ role: "assistant", content: "Two.", reasoning: "First: one. Stop.", finish: "stop" });
  expect(reasoningTokens).toBeGreaterThan(5);
});

test("a stop string in a call's arguments leaves the call whole", () => {
  const call = '<tool_call>\n{"name": "w", "arguments": {"text": "Go. Stop. Go."}}\n</tool_call>';
  const { toolCalls, content } = read(`I call.\n${call}`, [" Stop."]);
  expect(content).toBe("I call.");
  expect(toolCalls).toEqual([{ id: expect.any(String), name: "w", arguments: '{"text": "Go. Stop. Go."}' }]);
});
