import { expect, test } from "bun:test";
import { AnswerFigures, sessionFigures } from "../../src/terminal/session-figures.ts";

type Info = Parameters<typeof sessionFigures>[0];
type Runtime = Parameters<typeof sessionFigures>[1];
type Answer = Parameters<AnswerFigures["count"]>[0];

/** What /stats reads of a session and its server. */
const info = {
  historyTokens: 5000,
  kvLiveBytes: 2 ** 20,
  kvSlabBytes: 2 ** 21,
  computedTokens: 5000,
  replayedTokens: 0,
};
const runtime = { sink: 4, window: 64 } as Runtime;
const shown = (session: Partial<Info>, figures = new AnswerFigures()) =>
  sessionFigures({ ...info, ...session } as Info, runtime, figures).split("\n");

test("a session shows what it holds, and that each token was computed once", () => {
  expect(shown({})).toEqual([
    "history      5,000 tokens, of which the cache has 68",
    "memory       1 MiB in use of 2 MiB, which do not grow",
    "computed     5,000 tokens, each of the history once",
  ]);
  expect(shown({ historyTokens: 10 })[0]).toBe("history      10 tokens, of which the cache has 10");
});

test("a session that was brought back shows what that took", () => {
  expect(shown({ computedTokens: 5300, replayedTokens: 300 }).slice(2)).toEqual([
    "computed     5,300 tokens",
    "replayed     300 tokens, to bring the session back",
  ]);
});

test("from the second answer on, the first one is what it is compared with", () => {
  const figures = new AnswerFigures();
  const answer = (totalS: number) => ({ totalS, firstTokenS: totalS / 10, answerTokens: 100 }) as Answer;
  figures.count(answer(1), 200);
  expect(shown({}, figures).slice(2, 4)).toEqual([
    "computed     5,000 tokens, each of the history once",
    "per token    10 ms in the last answer, 10 ms in the first",
  ]);
  figures.count(answer(2), 400);
  figures.count({ ...answer(Number.NaN) }, 400);
  expect(shown({}, figures).slice(2)).toEqual([
    "computed     5,000 tokens, each of the history once; 1,000 if it were sent again for each of the 3 answers",
    "per token    20 ms in the last answer, 10 ms in the first",
    "first token  200 ms in the last answer, 100 ms in the first",
  ]);
});
