/**
 * Times steps with a cache of floats and one of 8 bits, by turns in one process, and prints JSON: a token and a block of
 * 32 at a full window. Times of one machine prove little: read the ratios, which are medians over neighbouring steps.
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
const weights = (["q4", "q8", "f32"] as const).find((each) => each === values.quant) ?? "q4";

const cases = [];
for (const window of values.windows.split(",").map(Number)) {
  const [floats, codes] = [await fullSequence("f32", window), await fullSequence("q8", window)];
  const tokens = [];
  for (const count of [1, block]) {
    const pairs: { f32: number; q8: number }[] = [];
    for (let round = 0; round < Number(values.rounds); round++) {
      pairs.push({ f32: await floats.stepMs(count), q8: await codes.stepMs(count) });
    }
    const median = (of: (pair: { f32: number; q8: number }) => number) => rounded(percentile(pairs.map(of), 0.5) ?? 0);
    tokens.push({
      tokens: count,
      f32_ms: median(({ f32 }) => f32),
      q8_ms: median(({ q8 }) => q8),
      f32_over_q8: median(({ f32, q8 }) => f32 / q8),
    });
  }
  cases.push({
    window,
    slab_mb: { f32: floats.slabMb, q8: codes.slabMb },
    load_average: rounded(loadavg()[0] ?? 0),
    tokens,
  });
  for (const { backend } of [floats, codes]) await backend.close();
}
console.log(JSON.stringify({ kind: "measure_cache", cpu: cpus()[0]?.model, quantization: weights, cases }, null, 2));

/** A backend with one sequence whose window is full, at the beginning of a block. */
async function fullSequence(
  kv: KvFormat,
  window: number,
): Promise<{ backend: Backend; slabMb: number; stepMs(count: number): Promise<number> }> {
  const { model } = values;
  const load = { quantization: weights, kv, sink, window, capacity: 1, ...(model === undefined ? {} : { model }) };
  const { backend, info } = await loadBackend(load, () => {});
  const sequence = backend.create();
  const run = (count: number) => {
    const tokenIds = Array.from({ length: count }, (_, i) => (7919 * i) % backend.vocabSize);
    return backend.run([{ sequence, tokenIds }], "last");
  };
  (await run(sink)).commit(0, sink);
  while (sequence.position < window + block + sink) (await run(block)).commit(0, block);
  const stepMs = async (count: number) => {
    const startedAtMs = performance.now();
    await run(count);
    return performance.now() - startedAtMs;
  };
  return { backend, slabMb: rounded(info.kvSlabBytes / 1e6), stepMs };
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
