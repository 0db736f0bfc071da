/**
 * Times the same steps through onnxruntime-node and through ONNX Runtime's C interface (bun:ffi), by turns in one
 * process, and prints JSON. Both read and write the same memory; onnxruntime-node also wraps every input anew and hands
 * out a copy of every output, which is freed as the engine does it. Times of one machine prove little: read the
 * ratios, which are medians over neighbouring steps.
 *
 *     bun tools/measure-c-interface.ts --model DIR [--quants q4,q8] [--window 64] [--rounds 60] [--threads 2]
 */

import { createRequire } from "node:module";
import { availableParallelism, cpus, loadavg } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { cacheRoot } from "../src/cache/folder.ts";
import { readConfig } from "../src/checkpoint/config.ts";
import { resolveModel } from "../src/checkpoint/resolve.ts";
import { ensureEngineFile } from "../src/graph/engine-file.ts";
import { InferenceSession, type Tensor } from "../src/ort/index.ts";
import { freeCopies } from "../src/ort/output-copies.ts";
import { sessionOptions } from "../src/ort/session-options.ts";
import { percentile } from "../src/report/stats.ts";
import { openThroughC } from "./c-interface.ts";
import { stepTensors } from "./step-tensors.ts";

const { values } = parseArgs({
  options: {
    model: { type: "string" },
    quants: { type: "string", default: "q4,q8" },
    window: { type: "string", default: "64" },
    rounds: { type: "string", default: "60" },
    threads: { type: "string", default: String(availableParallelism()) },
  },
});
const threads = Number(values.threads);
const { dir } = resolveModel(values.model, process.env);
const config = readConfig(dir);
const bindings = join(dirname(createRequire(import.meta.url).resolve("onnxruntime-node/package.json")), "bin/napi-v6");
const library = join(bindings, process.platform, process.arch, "libonnxruntime.so.1");

/** Sessions, tokens of each, and how many rows of logits are wanted: a token under the even rule, a block, four blocks. */
const steps = [
  { n: 1, tokens: 2, wanted: 2 },
  { n: 1, tokens: 32, wanted: 0 },
  { n: 4, tokens: 32, wanted: 0 },
];

const cases = [];
for (const quantization of values.quants.split(",").filter((each) => each === "q4" || each === "q8")) {
  const file = await ensureEngineFile({ modelDir: dir, config, quantization, cacheDir: cacheRoot(), onProgress() {} });
  const session = await InferenceSession.create(file.modelPath, sessionOptions(threads));
  const c = openThroughC(library, file.modelPath, threads);
  for (const { n, tokens, wanted } of steps) {
    const { feeds, fetches } = stepTensors(config, Number(values.window), n, tokens, wanted);
    const throughNode = async () => freeCopies(await session.run(feeds, fetches), fetches);
    const throughC = c.prepare(feeds, fetches);
    await throughNode();
    const expected = hashOf(fetches);
    throughC();
    if (hashOf(fetches) !== expected) throw new Error("the two interfaces gave different bits");
    const pairs: { node: number; c: number }[] = [];
    for (let round = 0; round < Number(values.rounds); round++) {
      pairs.push({ node: await milliseconds(throughNode), c: await milliseconds(throughC) });
    }
    const of = (p: number, value: (pair: { node: number; c: number }) => number) =>
      Number(percentile(pairs.map(value), p)?.toPrecision(4));
    cases.push({
      quantization,
      rows: n * tokens,
      load_average: loadavg()[0],
      node_ms: { least: of(0, ({ node }) => node), median: of(0.5, ({ node }) => node) },
      c_ms: { least: of(0, ({ c }) => c), median: of(0.5, ({ c }) => c) },
      c_over_node: of(0.5, ({ node, c }) => c / node),
    });
  }
  await session.release();
}
const world = { model: values.model ?? "kakeya-tiny", cpu: cpus()[0]?.model, threads, window: Number(values.window) };
console.log(JSON.stringify({ kind: "measure_c_interface", ...world, rounds: Number(values.rounds), cases }, null, 2));
process.exit(0);

async function milliseconds(run: () => unknown): Promise<number> {
  const startedAt = performance.now();
  await run();
  return performance.now() - startedAt;
}

function hashOf(tensors: Readonly<Record<string, Tensor>>): string {
  return Object.values(tensors)
    .map(({ data }) => (ArrayBuffer.isView(data) ? Bun.hash(data) : ""))
    .join();
}
