import type { Quantization } from "../src/engine/engine.ts";
import { loadBackend } from "../src/engine/load.ts";
import { percentile } from "../src/report/stats.ts";
import type { StepCost } from "./draft-walk.ts";

const sizes = [1, 2, 4, 8, 16];
const rounds = 25;

/** Times steps of one session by their number of rows, by turns, with the logits of every row and a full window. */
export async function measureStepCost(model: string, quantization: Quantization, window: number): Promise<StepCost> {
  const { backend, info } = await loadBackend({ model, quantization, sink: 4, window, capacity: 1 }, () => {});
  const sequence = backend.create();
  const run = (count: number) => {
    const tokenIds = Array.from({ length: count }, (_, i) => (7919 * i) % backend.vocabSize);
    return backend.run([{ sequence, tokenIds }], "all");
  };
  (await run(4)).commit(0, 4);
  while (sequence.position < window + 4) (await run(32)).commit(0, 32);
  const times = new Map<number, number[]>(sizes.map((rows) => [rows, []]));
  for (let round = 0; round < rounds; round++) {
    for (const rows of sizes) {
      const startedAtMs = performance.now();
      await run(rows);
      times.get(rows)?.push(performance.now() - startedAtMs);
    }
  }
  await backend.close();
  // The lower quartile: a busy machine makes steps longer and never shorter.
  const ms = sizes.map((rows) => [rows, Number((percentile(times.get(rows) ?? [], 0.25) ?? 0).toPrecision(3))]);
  return { name: `${quantization}, window ${window}`, rowMultiple: info.rowMultiple, ms: Object.fromEntries(ms) };
}
