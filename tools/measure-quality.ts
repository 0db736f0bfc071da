/**
 * Measures what quantization costs in quality and prints JSON: next-token losses of kakeya-tiny over its corpus, against
 * f32, and the error of a linear layer's outputs with heavy-tailed random weights; for several sizes of blocks,
 * with the engine's scales and with those that map a block's largest magnitude to the end of the range.
 *
 *     bun tools/measure-quality.ts > results/measurements/quality.json
 *     bun tools/measure-quality.ts --cache > results/measurements/quality-cache.json
 *
 * --cache: instead, what a cache in 8 bits costs with weights in f32, q8 and q4.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { blockFormats } from "../src/graph/plan.ts";
import { type Losses, lossesOf } from "./corpus-losses.ts";
import { quantizers } from "./largest-at-end.ts";
import { layerErrors } from "./layer-errors.ts";

const cases = (["q8", "q4"] as const).flatMap((quantization) =>
  ([32, 64, 128] as const).flatMap((blockSize) =>
    (["largest at end", "least squares"] as const).map((scales) => ({ quantization, blockSize, scales })),
  ),
);

process.env.KAKEYA_CACHE_DIR = mkdtempSync(join(tmpdir(), "kakeya-quality-"));
try {
  console.log(JSON.stringify(process.argv.includes("--cache") ? await ofCaches() : await ofBlocks(), null, 2));
} finally {
  rmSync(process.env.KAKEYA_CACHE_DIR, { recursive: true, force: true });
}

async function ofCaches() {
  const measured = [];
  for (const quantization of ["f32", "q8", "q4"] as const) {
    const reference = await lossesOf(quantization);
    const {
      nll_against_f32: against,
      nll_standard_error: error,
      ...losses
    } = compared(await lossesOf(quantization, undefined, "q8"), reference);
    measured.push({
      quantization,
      nll_with_cache_in_floats: rounded(mean(reference.nll)),
      nll: losses.nll,
      nll_against_cache_in_floats: against,
      nll_standard_error: error,
      top1_with_cache_in_floats: rounded(mean(reference.hits)),
      top1: losses.top1,
      top1_agreement: losses.top1_agreement_with_f32,
    });
  }
  return { kind: "measure_quality_cache", cpu: cpus()[0]?.model, cases: measured };
}

async function ofBlocks() {
  const reference = await lossesOf("f32");
  const measured = [];
  for (const { quantization, blockSize, scales } of cases) {
    const format = { ...blockFormats[quantization], blockSize };
    const losses = await lossesOf(quantization, { format, quantize: quantizers[scales] });
    measured.push({
      quantization,
      block: blockSize,
      scales,
      selected: scales === "least squares" && blockSize === blockFormats[quantization].blockSize,
      corpus: compared(losses, reference),
      heavy_tailed_layer: await layerErrors(format, quantizers[scales]),
    });
    console.error(`${quantization} ${blockSize} ${scales}: ${JSON.stringify(measured.at(-1))}`);
  }
  const f32 = { nll: rounded(mean(reference.nll)), top1: rounded(mean(reference.hits)), tokens: reference.nll.length };
  return { kind: "measure_quality", cpu: cpus()[0]?.model, f32, cases: measured };
}

function compared(losses: Losses, reference: Losses): Record<string, number> {
  const nll = mean(losses.nll);
  const differences = losses.nll.map((value, i) => value - (reference.nll[i] ?? Number.NaN));
  return {
    nll: rounded(nll),
    nll_against_f32: rounded(nll / mean(reference.nll) - 1),
    /** Of the difference's mean, over the tokens, relative to f32's loss. */
    nll_standard_error: rounded(standardError(differences) / mean(reference.nll)),
    top1: rounded(mean(losses.hits)),
    top1_agreement_with_f32: rounded(mean(losses.best.map((id, i) => Number(id === reference.best[i])))),
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

function standardError(values: readonly number[]): number {
  const center = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - center) ** 2)) / values.length);
}

function rounded(value: number): number {
  return Number(value.toPrecision(5));
}
