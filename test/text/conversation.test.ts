import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { embeddedModelDir } from "../../src/checkpoint/embedded.ts";
import { AnswerReader } from "../../src/text/answer-reader.ts";
import { loadChatTemplate } from "../../src/text/chat-template.ts";
import { loadTokenizer } from "../../src/text/tokenizer.ts";
import { serving } from "../serve/serving.ts";

const golden: { sink: number; window: number; turns: { question: string; text: string }[] } = JSON.parse(
  readFileSync(join(import.meta.dir, "../golden/kakeya-tiny.json"), "utf8"),
);

test("kakeya-tiny, asked in messages, gives its answers, also after one that a stop string cut off", async () => {
  await using server = await serving();
  const { vocabSize, eosTokenIds } = server.engine.info;
  const tokenizer = loadTokenizer(embeddedModelDir(), vocabSize);
  const template = loadChatTemplate(embeddedModelDir(), tokenizer, eosTokenIds);
  const session = await server.connect().createSession({ eosTokenIds });

  const answer = async (prompt: string, stops: string[] = []) => {
    await session.append(tokenizer.encode(prompt));
    const reader = new AnswerReader(tokenizer, { stops });
    const events = [];
    for await (const id of session.generate({ maxTokens: 64 })) {
      events.push(...reader.push(id));
      if (reader.stoppedBy !== undefined) break;
    }
    events.push(...reader.end());
    return events.map((event) => (event.type === "text" ? event.text : `[${event.type}]`)).join("");
  };

  let answerWas: "ended" | "cut" | undefined;
  for (const { question, text } of golden.turns) {
    const messages = [{ role: "user", content: question } as const];
    const prompt = answerWas === undefined ? template.render(messages) : template.delta(messages, { answerWas });
    const [stop = ""] = answerWas === "ended" ? text.split(" ").slice(2) : [];
    const cut = stop !== "";
    expect(await answer(prompt, cut ? [stop] : [])).toBe(cut ? text.slice(0, text.indexOf(stop)) : text);
    answerWas = cut ? "cut" : "ended";
  }
});
