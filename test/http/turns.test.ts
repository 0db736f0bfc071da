import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { messageDigest, messagesUpTo, type Root, rootDigest, type Turn } from "../../src/http/turn.ts";
import { Turns } from "../../src/http/turns.ts";
import type { ChatMessage } from "../../src/text/messages.ts";

const root: Root = { system: undefined, systemFrom: "message", tools: [], variables: {} };
const user = (content: string): ChatMessage => ({ role: "user", content });
const assistant = (content: string): ChatMessage => ({ role: "assistant", content });

function turnAfter(before: Turn | undefined, messages: ChatMessage[], size = 10): Turn {
  return {
    before,
    line: before?.line ?? new Set(),
    root,
    digest: messages.reduce(messageDigest, before?.digest ?? rootDigest(root)),
    tokens: (before?.tokens ?? 0) + size,
    answerWas: "ended",
    added: { messages, ids: new Uint32Array(size) },
    sessionId: "s",
    seat: undefined,
  };
}

function kept(maxBytes: number): { turns: Turns; forgotten: Turn[] } {
  const forgotten: Turn[] = [];
  return { turns: new Turns(maxBytes, { added: () => {}, forgotten: (turn) => forgotten.push(turn) }), forgotten };
}

/** Few words, so that conversations begin alike. */
const word = fc.constantFrom("a", "b");
const conversation = fc.array(fc.tuple(word, word), { minLength: 1, maxLength: 5 });

test("whatever was said, the longest beginning is found that ends with a known answer", () => {
  fc.assert(
    fc.property(fc.array(conversation, { maxLength: 6 }), conversation, (said, asked) => {
      const { turns } = kept(2 ** 30);
      const ends = new Set<string>();
      for (const exchanges of said) {
        let turn: Turn | undefined;
        for (const [question, answer] of exchanges) {
          turn = turnAfter(turn, [user(question), assistant(answer)]);
          turns.add(turn);
          ends.add(JSON.stringify(messagesUpTo(turn)));
        }
      }
      const messages = asked.flatMap(([question, answer]) => [user(question), assistant(answer)]);
      const lengths = asked.map((_, index) => 2 * (index + 1));
      const longest = Math.max(0, ...lengths.filter((length) => ends.has(JSON.stringify(messages.slice(0, length)))));
      const found = turns.longestBeginning(root, [...messages, user("next")]);
      expect(found.rest).toEqual([...messages.slice(longest), user("next")]);
      expect(found.turn === undefined ? [] : messagesUpTo(found.turn)).toEqual(messages.slice(0, longest));
    }),
  );
});

test("other tools, system messages and variables are other conversations", () => {
  const { turns } = kept(2 ** 30);
  turns.add(turnAfter(undefined, [user("a"), assistant("b")]));
  const asked = [user("a"), assistant("b"), user("c")];
  expect(turns.longestBeginning(root, asked).turn).toBeDefined();
  const others: Partial<Root>[] = [{ system: "x" }, { tools: [{ name: "f" }] }, { variables: { a: 1 } }];
  for (const other of others) expect(turns.longestBeginning({ ...root, ...other }, asked).turn).toBeUndefined();
});

describe("the bytes are bounded", () => {
  test("by forgetting the conversation that was used longest ago, as a whole", () => {
    const { turns, forgotten } = kept(40_000);
    const first = turnAfter(undefined, [user("first"), assistant("x")], 3000);
    const second = turnAfter(undefined, [user("second"), assistant("x")], 3000);
    for (const turn of [first, second]) turns.add(turn);
    const more = turnAfter(first, [user("more"), assistant("x")], 3000);
    turns.add(more);
    expect(forgotten).toEqual([second]);
    expect(second.added).toBeUndefined();
    expect(turns.bytes).toBeLessThanOrEqual(40_000);
  });

  test("by forgetting the oldest turns of one that is too long by itself; its last one stays", () => {
    const { turns, forgotten } = kept(100_000);
    let turn: Turn | undefined;
    for (let i = 0; i < 100; i++) {
      turn = turnAfter(turn, [user(String(i)), assistant("x")], 2000);
      turns.add(turn);
      expect(turns.bytes).toBeLessThanOrEqual(100_000);
    }
    expect(forgotten.length).toBeGreaterThan(80);
    expect(turn?.added).toBeDefined();
  });
});
