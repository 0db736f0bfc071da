/**
 * Times steps with a cache of floats and one of 8 bits, by turns in one process, and prints JSON: a token, a block of
 * 32, and a token of each of eight sessions, at a full window. Times of one machine prove little: read the ratios, which
 * are medians over neighbouring steps.
 *
 *     bun tools/measure-cache.ts --model DIR [--quant q4] [--windows 64,256,1024] [--rounds 40]
 */

import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import type { Backend } from "../src/engine/backend.ts";
import type { KvFormat } from "../src/engine/engine.ts";
import { loadBackend } from "../src/engine/load.ts";
import { block } from "../src/kv/geometry.ts";
import { percentile } from "../src/report/stats.ts";

const sink = 4;
const { values } = parseArgs({
  options: {
    model: { type: "string" },
    quant: { type: "string", default: "q4" },
    windows: { type: "string", default: "64,256,1024" },
    rounds: { type: "string", default: "40" },
  },
});
const sizes = [
  { sessions: 1, tokens: 1 },
  { sessions: 1, tokens: block },
  { sessions: 8, tokens: 1 },
];
const weights = (["q4", "q8", "f32"] as const).find((each) => each === values.quant) ?? "q4";

const cases = [];
for (const window of values.windows.split(",").map(Number)) {
  const [floats, codes] = [await fullSequences("f32", window), await fullSequences("q8", window)];
  const steps = [];
  for (const { sessions, tokens } of sizes) {
    const pairs: { f32: number; q8: number }[] = [];
    for (let round = 0; round < Number(values.rounds); round++) {
      pairs.push({ f32: await floats.stepMs(sessions, tokens), q8: await codes.stepMs(sessions, tokens) });
    }
    const median = (of: (pair: { f32: number; q8: number }) => number) => rounded(percentile(pairs.map(of), 0.5) ?? 0);
    steps.push({
      sessions,
      tokens,
      f32_ms: median(({ f32 }) => f32),
      q8_ms: median(({ q8 }) => q8),
      f32_over_q8: median(({ f32, q8 }) => f32 / q8),
    });
  }
  cases.push({
    window,
    slab_mb: { f32: floats.slabMb, q8: codes.slabMb },
    load_average: rounded(loadavg()[0] ?? 0),
    steps,
  });
  for (const { backend } of [floats, codes]) await backend.close();
}
console.log(JSON.stringify({ kind: "measure_cache", cpu: cpus()[0]?.model, quantization: weights, cases }, null, 2));

/** A backend with sequences whose windows are full, at the beginning of a block. */
async function fullSequences(
  kv: KvFormat,
  window: number,
): Promise<{ backend: Backend; slabMb: number; stepMs(sessions: number, tokens: number): Promise<number> }> {
  const { model } = values;
  const capacity = Math.max(...sizes.map(({ sessions }) => sessions));
  const load = { quantization: weights, kv, sink, window, capacity, ...(model === undefined ? {} : { model }) };
  const { backend, info } = await loadBackend(load, () => {});
  const sequences = Array.from({ length: capacity }, () => backend.create());
  const run = (batch: typeof sequences, tokens: number) => {
    const tokenIds = Array.from({ length: tokens }, (_, i) => (7919 * i) % backend.vocabSize);
    return backend.run(
      batch.map((sequence) => ({ sequence, tokenIds })),
      "last",
    );
  };
  for (const sequence of sequences) {
    (await run([sequence], sink)).commit(0, sink);
    while (sequence.position < window + block + sink) (await run([sequence], block)).commit(0, block);
  }
  const stepMs = async (sessions: number, tokens: number) => {
    const startedAtMs = performance.now();
    await run(sequences.slice(0, sessions), tokens);
    return performance.now() - startedAtMs;
  };
  return { backend, slabMb: rounded(info.kvSlabBytes / 1e6), stepMs };
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
