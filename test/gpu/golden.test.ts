import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { generateIds } from "../engine/generating.ts";
import type { GoldenCase } from "../engine/golden-case.ts";
import { goldenModels, loadCore } from "../engine/models.ts";
import { asked, onGpu } from "./device.ts";

const read = (path: string) => JSON.parse(readFileSync(join(import.meta.dir, "../golden", path), "utf8"));

/** One that never leaves the window, and one whose window wraps several times. */
const cases = goldenModels.flatMap((model) =>
  (read(`${model}/golden.json`).cases as GoldenCase[])
    .filter(({ tokens, window }) => tokens.length === 60 || window === 28)
    .map((golden) => [model, golden.window, golden] as const),
);

describe.skipIf(!asked)(onGpu, () => {
  test.each(cases)(
    "%s in float32 with window %d agrees with the float64 oracle, and continues as it does",
    async (model, _, golden) => {
      const core = await loadCore(model, { device: "gpu", sink: golden.sink, window: golden.window });
      const sequence = await core.create();
      let done = 0;
      for (const { position, top, sum } of golden.checks) {
        await core.append(sequence, Uint32Array.from(golden.tokens.slice(done, position + 1)));
        done = position + 1;
        const logits = core.logits(sequence);
        for (const [id, logit] of top) expect(Math.abs((logits[id] ?? Number.NaN) - logit)).toBeLessThan(1e-3);
        expect(Math.abs(logits.reduce((all, x) => all + x, 0) - sum)).toBeLessThan(0.05);
      }
      if (done < golden.tokens.length) await core.append(sequence, Uint32Array.from(golden.tokens.slice(done)));
      const close = golden.greedy_margin.findIndex((margin) => margin < 2e-3);
      const certain = close < 0 ? golden.greedy : golden.greedy.slice(0, close);
      expect((await generateIds(core, sequence, certain.length)).ids).toEqual(certain);
      await core.close();
    },
    600_000,
  );

  test("kakeya-tiny in float32 answers two turns with the oracle's ids, and counts every token once", async () => {
    const turns: { prompt_ids: number[]; generated_ids: number[] }[] = read("kakeya-tiny.json").turns.slice(0, 2);
    const core = await loadCore("kakeya-tiny", { device: "gpu" });
    const sequence = await core.create();
    let tokens = 0;
    for (const { prompt_ids, generated_ids } of turns) {
      await core.append(sequence, Uint32Array.from(prompt_ids));
      expect((await generateIds(core, sequence, generated_ids.length)).ids).toEqual(generated_ids);
      tokens += prompt_ids.length + generated_ids.length;
      expect(await core.state(sequence)).toMatchObject({ computedTokens: tokens, position: tokens });
    }
    await core.close();
  }, 600_000);
});
