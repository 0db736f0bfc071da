/**
 * Walks one session of the engine through a million tokens of the bench's six questions, and prints JSON: whether
 * memory and time a token stayed flat, whether the answers stayed right, and whether every token was computed once.
 *
 *     bun tools/long-session.ts [--tokens 1000000] [--quant q8]
 *
 * Exit code 1 when a count is wrong or an answer at the end is worse than at the start. Times are printed, not judged.
 */

import { readFileSync } from "node:fs";
import { cpus, loadavg, release } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { promptText } from "../src/bench/template.ts";
import { builtInWorkload } from "../src/bench/workload.ts";
import { embeddedModelDir } from "../src/checkpoint/embedded.ts";
import { greedy, type Quantization } from "../src/engine/engine.ts";
import { openEngine } from "../src/engine/open.ts";
import { percentile } from "../src/report/stats.ts";
import { loadTokenizer } from "../src/text/tokenizer.ts";

const maxAnswerTokens = 64;

const { values } = parseArgs({
  options: { tokens: { type: "string", default: "1000000" }, quant: { type: "string", default: "q8" } },
});
const goal = Number(values.tokens);
if (!Number.isSafeInteger(goal) || goal < 1000)
  throw new Error(`--tokens must be an integer from 1000 on, not ${values.tokens}`);

const model = embeddedModelDir();
const tokenizer = loadTokenizer(model);
const engine = await openEngine({ quantization: values.quant as Quantization, sink: 4, window: 64, capacity: 1 });
const sequence = await engine.create();
const expected = trainedAnswers(join(model, "corpus.jsonl"));
const questions = builtInWorkload.messages.map((text) => ({
  ids: tokenizer.encode(promptText("raw", text, "none")),
  answer: expected.get(text),
}));

interface Rotation {
  tokens: number;
  seconds: number;
  right: number;
  residentBytes: number;
}

const loadAtStart = loadavg();
const startedAt = new Date();
const rotations: Rotation[] = [];
let tokens = 0;
let wrongCounts = 0;
while (tokens < goal) {
  const before = tokens;
  const start = performance.now();
  let right = 0;
  for (const { ids, answer } of questions) {
    await engine.append(sequence, ids);
    const generated = await answerOf();
    tokens += ids.length + generated.length;
    if (tokenizer.decode(generated).trim() === answer) right++;
  }
  const seconds = (performance.now() - start) / 1000;
  const state = await engine.state(sequence);
  const full = Math.min(tokens, engine.info.sink + engine.info.window);
  const sound =
    state.position === tokens &&
    state.computedTokens === tokens &&
    state.minRows === full &&
    state.maxRows === full &&
    state.liveBytes === full * engine.info.kvBytesPerToken;
  if (!sound) wrongCounts++;
  rotations.push({ tokens: tokens - before, seconds, right, residentBytes: process.memoryUsage.rss() });
}
await engine.close();

const tenth = Math.max(1, Math.floor(rotations.length / 10));
const first = rotations.slice(0, tenth);
const last = rotations.slice(-tenth);
const perToken = (part: Rotation[]) =>
  percentile(
    part.map((r) => r.seconds / r.tokens),
    0.5,
  ) ?? Number.NaN;
const share = (part: Rotation[]) => part.reduce((sum, r) => sum + r.right, 0) / (part.length * questions.length);
const residentAfter = (count: number) => {
  let done = 0;
  const near = rotations.filter((r) => {
    done += r.tokens;
    return done > count * 0.95 && done <= count * 1.05;
  });
  return percentile(
    near.map((r) => r.residentBytes),
    0.5,
  );
};
const early = residentAfter(goal / 10);
const late = residentAfter(goal);
const result = {
  kind: "long_session",
  command: `bun tools/long-session.ts ${process.argv.slice(2).join(" ")}`.trim(),
  started_at: startedAt.toISOString(),
  finished_at: new Date().toISOString(),
  world: { os: `${process.platform} ${release()} ${process.arch}`, cpu: cpus()[0]?.model, cores: cpus().length },
  load_average: { start: loadAtStart, end: loadavg() },
  engine: engine.info,
  tokens,
  rotations: rotations.length,
  rotations_with_wrong_counts: wrongCounts,
  answers_right: { first_tenth: share(first), last_tenth: share(last), all: share(rotations) },
  seconds_per_token: {
    first_tenth: perToken(first),
    last_tenth: perToken(last),
    ratio: perToken(last) / perToken(first),
  },
  resident_bytes: { after_a_tenth: early, at_the_end: late, ratio: early && late ? late / early : null },
  by_tenth: Array.from({ length: 10 }, (_, i) => {
    const part = rotations.slice(i * tenth, (i + 1) * tenth);
    return {
      seconds_per_token: perToken(part),
      resident_bytes: percentile(
        part.map((r) => r.residentBytes),
        0.5,
      ),
      answers_right: share(part),
    };
  }),
};
console.log(JSON.stringify(result, null, 2));
process.exit(wrongCounts > 0 || share(last) < share(first) ? 1 : 0);

async function answerOf(): Promise<number[]> {
  const ids: number[] = [];
  const request = { sampling: greedy, maxTokens: maxAnswerTokens, eosTokenIds: engine.info.eosTokenIds };
  const generation = engine.generate(sequence, request, ({ tokenIds }) => ids.push(...tokenIds));
  generation.allow(maxAnswerTokens);
  await generation.ended;
  return ids;
}

/** The answers that kakeya-tiny was trained to give, by question. */
function trainedAnswers(corpus: string): Map<string, string> {
  const answers = new Map<string, string>();
  for (const line of readFileSync(corpus, "utf8").split("\n").filter(Boolean)) {
    const { questions: asked, answer } = JSON.parse(line) as { questions: string[]; answer: string };
    for (const question of asked) answers.set(question, answer);
  }
  return answers;
}
