/**
 * Times the same steps through onnxruntime-node and through ONNX Runtime's C interface (bun:ffi), by turns in one
 * process, and prints JSON. Both read and write the same memory; onnxruntime-node also wraps every input anew and hands
 * out a copy of every output, which is freed as the engine does it. Times of one machine prove little: read the
 * ratios, which are medians over neighbouring steps.
 *
 *     bun tools/measure-c-interface.ts --model DIR [--quants q4,q8] [--window 64] [--threads 2]
 *                                     [--loads 4] [--rounds 20]
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

/** Processor time is that of all threads, so that of waiting awake as well: it says most with one thread. */
interface Cost {
  wallMs: number;
  processorMs: number;
}

interface Pair {
  node: Cost;
  c: Cost;
}

const { values } = parseArgs({
  options: {
    model: { type: "string" },
    quants: { type: "string", default: "q4,q8" },
    window: { type: "string", default: "64" },
    loads: { type: "string", default: "4" },
    rounds: { type: "string", default: "20" },
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
  const pairs: Pair[][] = steps.map(() => []);
  // Where a session's weights lie in memory makes a difference of up to a tenth: each interface loads first as often.
  for (let load = 0; load < Number(values.loads); load++) {
    const openC = () => openThroughC(library, file.modelPath, threads);
    const early = load % 2 === 0 ? undefined : openC();
    const session = await InferenceSession.create(file.modelPath, sessionOptions(threads));
    const c = early ?? openC();
    for (const [i, step] of steps.entries()) pairs[i]?.push(...(await pairsOf(session, c, step)));
    c.release();
    await session.release();
  }
  for (const [i, { n, tokens }] of steps.entries()) {
    const load_average = loadavg()[0];
    const [wall, processor] = [(cost: Cost) => cost.wallMs, (cost: Cost) => cost.processorMs];
    const own = pairs[i] ?? [];
    cases.push({
      quantization,
      rows: n * tokens,
      load_average,
      wall_ms: figures(own, wall),
      processor_ms: figures(own, processor),
    });
  }
}
const world = { model: values.model ?? "kakeya-tiny", cpu: cpus()[0]?.model, threads, window: Number(values.window) };
console.log(
  JSON.stringify(
    { kind: "measure_c_interface", ...world, loads: Number(values.loads), rounds: Number(values.rounds), cases },
    null,
    2,
  ),
);
process.exit(0);

async function pairsOf(
  session: InferenceSession,
  c: ReturnType<typeof openThroughC>,
  { n, tokens, wanted }: (typeof steps)[number],
): Promise<Pair[]> {
  const { feeds, fetches } = stepTensors(config, Number(values.window), n, tokens, wanted);
  const throughNode = async () => freeCopies(await session.run(feeds, fetches), fetches);
  const throughC = c.prepare(feeds, fetches);
  await throughNode();
  const expected = hashOf(fetches);
  throughC();
  if (hashOf(fetches) !== expected) throw new Error("the two interfaces gave different bits");
  const pairs: Pair[] = [];
  for (let round = 0; round < Number(values.rounds); round++) {
    pairs.push({ node: await costOf(throughNode), c: await costOf(throughC) });
  }
  return pairs;
}

function figures(pairs: readonly Pair[], of: (cost: Cost) => number) {
  const at = (p: number, value: (pair: Pair) => number) => Number(percentile(pairs.map(value), p)?.toPrecision(4));
  return {
    node: { least: at(0, ({ node }) => of(node)), median: at(0.5, ({ node }) => of(node)) },
    c: { least: at(0, ({ c }) => of(c)), median: at(0.5, ({ c }) => of(c)) },
    c_over_node: at(0.5, ({ node, c }) => of(c) / of(node)),
  };
}

async function costOf(run: () => unknown): Promise<Cost> {
  const [startedAt, used] = [performance.now(), process.cpuUsage()];
  await run();
  const { user, system } = process.cpuUsage(used);
  return { wallMs: performance.now() - startedAt, processorMs: (user + system) / 1000 };
}

function hashOf(tensors: Readonly<Record<string, Tensor>>): string {
  return Object.values(tensors)
    .map(({ data }) => (ArrayBuffer.isView(data) ? Bun.hash(data) : ""))
    .join();
}
