/**
 * Measures how often guesses from a session's own history are right on real text, and what that is worth: files, edits
 * and logs of this machine run past the drafter as if a model had written them. Prints JSON.
 *
 *     bun tools/measure-drafts.ts [--model DIR --quants q4,q8 --window 1024]
 *
 * What a step costs by its number of rows is measured with --model, or else what it was on the machine below.
 */

import { join } from "node:path";
import { parseArgs } from "node:util";
import { mostGuesses } from "../src/engine/drafts/drafter.ts";
import { loadTokenizer } from "../src/text/tokenizer.ts";
import { kinds, streamsOf } from "./draft-streams.ts";
import { type StepCost, stepMs, type Walked, walk } from "./draft-walk.ts";
import { measureStepCost } from "./step-costs.ts";

/** Linear layers of Qwen3-0.6B's shape with the head on every row, AVX-512, 2 threads: milliseconds by rows. */
const measuredCosts: readonly StepCost[] = [
  { name: "q4", rowMultiple: 2, ms: { 2: 14.7, 4: 19.7, 8: 32.2, 16: 58.2 } },
  { name: "q8", rowMultiple: 2, ms: { 2: 23, 4: 27.2, 8: 38.6, 16: 61.7 } },
  { name: "q4, blocks of 32", rowMultiple: 1, ms: { 1: 17.5, 2: 18.5, 4: 28.2, 8: 45.8, 16: 81.8 } },
];

const { values } = parseArgs({
  options: {
    model: { type: "string" },
    quants: { type: "string", default: "q4,q8" },
    window: { type: "string", default: "1024" },
  },
});
const costs = values.model ? await costsOf(values.model) : measuredCosts;
const models = ["qwen3", "llama3_2"];
const results = models.flatMap((model) => {
  const tokenizer = loadTokenizer(join(import.meta.dir, `../node_modules/@lenml/tokenizer-${model}/models`));
  return kinds.flatMap((kind) => {
    const streams = streamsOf(kind, tokenizer);
    return costs.map((cost) => {
      const msOf = stepMs(cost);
      return { tokenizer: model, kind, cost: cost.name, ...summary(streams.map((stream) => walk(stream, msOf))) };
    });
  });
});
console.log(JSON.stringify({ kind: "measure_drafts", most_guesses: mostGuesses, costs, results }, null, 2));

async function costsOf(model: string): Promise<StepCost[]> {
  const measured: StepCost[] = [];
  for (const quantization of values.quants.split(",")) {
    if (quantization !== "q4" && quantization !== "q8" && quantization !== "f32") {
      throw new Error(`--quants ${quantization} is not q4, q8 or f32`);
    }
    measured.push(await measureStepCost(model, quantization, Number(values.window)));
  }
  return measured;
}

function summary(walked: readonly Walked[]) {
  const sum = (of: (w: Walked) => number) => walked.reduce((total, w) => total + of(w), 0);
  const speedUps = walked.map(({ name, ms, plainMs }) => ({ name, speed_up: rounded(plainMs / ms) }));
  const [worst] = speedUps.toSorted((a, b) => a.speed_up - b.speed_up);
  return {
    streams: walked.length,
    tokens: sum(({ tokens }) => tokens),
    drafted_a_step: rounded(sum(({ drafted }) => drafted) / sum(({ steps }) => steps)),
    accepted_a_step: rounded(sum(({ accepted }) => accepted) / sum(({ steps }) => steps)),
    acceptance: rounded(sum(({ accepted }) => accepted) / sum(({ drafted }) => drafted)),
    speed_up: rounded(sum(({ plainMs }) => plainMs) / sum(({ ms }) => ms)),
    worst,
  };
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
