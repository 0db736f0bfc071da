import { readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { promptText } from "../src/bench/template.ts";
import { cacheRoot } from "../src/cache/folder.ts";
import { readConfig } from "../src/checkpoint/config.ts";
import { openCheckpoint } from "../src/checkpoint/safetensors.ts";
import type { Quantization } from "../src/engine/engine.ts";
import { loadBackend } from "../src/engine/load.ts";
import { digestOf } from "../src/graph/digest.ts";
import { ensureEngineFile } from "../src/graph/engine-file.ts";
import { writeManifest } from "../src/graph/engine-manifest.ts";
import { buildGraph, graphVersion } from "../src/graph/graph.ts";
import type { BlockFormat, KvFormat } from "../src/graph/plan.ts";
import type { quantizeRows } from "../src/graph/quantize.ts";
import { readVectors } from "../src/graph/weight-file.ts";
import { chunkLength } from "../src/kv/geometry.ts";
import { loadTokenizer } from "../src/text/tokenizer.ts";

/** By token of the corpus. */
export interface Losses {
  /** The natural logarithm of one by the probability that the model gave the token. */
  nll: number[];
  /** The likeliest token. */
  best: number[];
  /** 1 where the likeliest token was the one that came. */
  hits: number[];
}

/** How the weights are quantized where not as the engine does it. */
export interface Variant {
  format: BlockFormat;
  quantize: typeof quantizeRows;
}

const modelDir = join(import.meta.dir, "../models/kakeya-tiny");
/** So many dialogues follow one another in a session: about 250 tokens, several windows. */
const dialoguesASession = 8;

/** kakeya-tiny reads its corpus, each dialogue once. KAKEYA_CACHE_DIR must be the caller's own. */
export async function lossesOf(quantization: Quantization, variant?: Variant, kv: KvFormat = "f32"): Promise<Losses> {
  await writeEngineFile(quantization, variant);
  const options = { model: modelDir, quantization, kv, sink: 4, window: 64, capacity: 1, threads: 1 };
  const { backend } = await loadBackend(options, () => {});
  const losses: Losses = { nll: [], best: [], hits: [] };
  for (const ids of sessions()) {
    const sequence = backend.create();
    while (sequence.position < ids.length) {
      const start = sequence.position;
      const tokenIds = ids.subarray(start, start + chunkLength(backend.geometry, start, ids.length - start));
      const ran = await backend.run([{ sequence, tokenIds }], "all");
      tokenIds.forEach((_, t) => {
        const next = ids[start + t + 1];
        if (next !== undefined) count(losses, ran.logits(0, t), next);
      });
      ran.commit(0, tokenIds.length);
    }
    backend.free(sequence);
  }
  await backend.close();
  return losses;
}

function count(losses: Losses, logits: Float32Array, id: number): void {
  const best = logits.reduce((most, value, i) => (value > (logits[most] ?? 0) ? i : most), 0);
  const largest = logits[best] ?? 0;
  const sum = logits.reduce((total, value) => total + Math.exp(value - largest), 0);
  losses.nll.push(Math.log(sum) - ((logits[id] ?? 0) - largest));
  losses.best.push(best);
  losses.hits.push(Number(best === id));
}

/** The corpus's dialogues, each with its first question, as ids. */
function sessions(): Uint32Array[] {
  const tokenizer = loadTokenizer(modelDir);
  const lines = readFileSync(join(modelDir, "corpus.jsonl"), "utf8").trim().split("\n");
  const texts = lines.map((line, i): string => {
    const { questions, answer } = JSON.parse(line);
    return `${promptText("chatml", questions[0], i % dialoguesASession === 0 ? "none" : "ended")}${answer}<|im_end|>`;
  });
  const starts = texts.flatMap((_, i) => (i % dialoguesASession === 0 ? [i] : []));
  return starts.map((start) => tokenizer.encode(texts.slice(start, start + dialoguesASession).join("")));
}

/** Puts an engine file with the variant's blocks and scales where the engine will look for its own. */
async function writeEngineFile(quantization: Quantization, variant: Variant | undefined): Promise<void> {
  const config = readConfig(modelDir);
  const { dir, ranges } = await ensureEngineFile({ modelDir, config, quantization, cacheDir: cacheRoot() });
  if (!variant) return;
  const checkpoint = openCheckpoint(modelDir);
  const vectors = (names: readonly string[]) => readVectors(checkpoint, names);
  const { plan, model } = buildGraph(config, quantization, vectors, "f32", variant.format);
  writeFileSync(ranges.graph.file, model);
  const weights = Buffer.alloc(plan.bytes);
  for (const entry of plan.entries) {
    if (entry.form !== "quantized") throw new Error(`${quantization} has no blocks`);
    const { packed, scales } = variant.quantize(vectors(entry.sources), entry.k, variant.format);
    weights.set(packed, entry.packed.offset);
    weights.set(new Uint8Array(scales.buffer), entry.scales.offset);
  }
  writeFileSync(ranges.weights.file, weights);
  checkpoint.close();
  writeManifest(dir, {
    key: basename(dir),
    graphVersion,
    quantization,
    graph: digestOf({ ...ranges.graph, bytes: model.length }),
    weights: digestOf({ ...ranges.weights, bytes: weights.length }),
    embedding: ranges.embedding.digest,
  });
}
