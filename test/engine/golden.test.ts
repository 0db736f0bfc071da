import { afterAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { generateIds } from "./generating.ts";
import type { GoldenCase } from "./golden-case.ts";
import { goldenModels, loadCore, quantizations } from "./models.ts";

interface Stream {
  turns: { prompt_ids: number[]; generated_ids: number[] }[];
}

const read = (path: string) => JSON.parse(readFileSync(join(import.meta.dir, "../golden", path), "utf8"));

describe.each(goldenModels)("%s in float32", (model) => {
  const cases: GoldenCase[] = read(`${model}/golden.json`).cases;

  test.each(cases.map((c) => [`S ${c.sink}, W ${c.window}, ${c.tokens.length} tokens`, c] as const))(
    "agrees with the float64 oracle: %s",
    async (_, golden) => {
      const core = await loadCore(model, golden);
      const sequence = await core.create();
      const checks = new Map(golden.checks.map((check) => [check.position, check]));
      let checked = 0;
      for (const [position, token] of golden.tokens.entries()) {
        await core.append(sequence, Uint32Array.of(token));
        const check = checks.get(position);
        if (!check) continue;
        const logits = core.logits(sequence);
        const best = [...logits.keys()].sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0)).slice(0, check.top.length);
        expect(best).toEqual(check.top.map(([id]) => id));
        for (const [id, logit] of check.top) expect(Math.abs((logits[id] ?? Number.NaN) - logit)).toBeLessThan(1e-3);
        expect(Math.abs(logits.reduce((sum, x) => sum + x, 0) - check.sum)).toBeLessThan(0.05);
        checked++;
      }
      expect(checked).toBe(golden.checks.length);
      // A float32 engine may differ from the oracle where its two best ids are this close, and from there on.
      const close = golden.greedy_margin.findIndex((margin) => margin < 2e-3);
      const certain = close < 0 ? golden.greedy : golden.greedy.slice(0, close);
      const { ids } = await generateIds(core, sequence, certain.length);
      expect(ids).toEqual(certain);
      await core.close();
    },
  );
});

/** Every cached number is off by up to half a step, a 254th of its row's largest; most of it averages out. */
describe.each(goldenModels)("%s with a cache in 8 bits", (model) => {
  const cases: GoldenCase[] = read(`${model}/golden.json`).cases;

  test.each(cases.map((c) => [`S ${c.sink}, W ${c.window}, ${c.tokens.length} tokens`, c] as const))(
    "stays near the float64 oracle: %s",
    async (_, golden) => {
      const core = await loadCore(model, { ...golden, kv: "q8" });
      const sequence = await core.create();
      const checks = new Map(golden.checks.map((check) => [check.position, check]));
      const errors: number[] = [];
      for (const [position, token] of golden.tokens.entries()) {
        await core.append(sequence, Uint32Array.of(token));
        const logits = core.logits(sequence);
        for (const [id, logit] of checks.get(position)?.top ?? []) errors.push((logits[id] ?? Number.NaN) - logit);
      }
      const squares = errors.reduce((sum, error) => sum + error ** 2, 0);
      const largest = Math.max(...golden.checks.flatMap(({ top }) => top.map(([, logit]) => Math.abs(logit))));
      expect(Math.sqrt(squares / errors.length)).toBeLessThan(largest / 1000);
      await core.close();
    },
  );
});

const stored = [...quantizations.map((each) => [each, "f32"] as const), ["f32", "q8"] as const, ["q8", "q8"] as const];

describe.each(stored)("kakeya-tiny in %s, cache in %s", (quantization, kv) => {
  const golden: Stream = read("kakeya-tiny.json");
  const loaded = loadCore("kakeya-tiny", { quantization, kv });
  afterAll(async () => (await loaded).close());

  test("answers the six turns with the oracle's ids, and counts every token once", async () => {
    const core = await loaded;
    const sequence = await core.create();
    let tokens = 0;
    for (const turn of golden.turns) {
      await core.append(sequence, Uint32Array.from(turn.prompt_ids));
      const { ids } = await generateIds(core, sequence, turn.generated_ids.length);
      expect(ids).toEqual(turn.generated_ids);
      tokens += turn.prompt_ids.length + ids.length;
      const state = await core.state(sequence);
      expect(state.computedTokens).toBe(tokens);
      expect(state.position).toBe(tokens);
    }
  });
});
