/**
 * Measures the engine and prints JSON: decode and prefill rates, the share of a decode step outside the linear layers,
 * build and load times, resident memory. Every case runs in processes of its own; the cases, and the peer if there is
 * one, take turns, and each figure is the median over the rounds. Times of one machine prove little: read the ratios.
 *
 *     bun tools/bench-engine.ts --model DIR [--quants q4,q8,f32] [--windows 64,1024] [--rounds 5]
 *                               [--threads 2] [--peer "command that prints tok/s=NUMBER"]
 */

import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { percentile } from "../src/bench/stats.ts";
import { cacheRoot } from "../src/cache/folder.ts";
import { type EngineInfo, type EngineOptions, greedy, type Quantization } from "../src/engine/engine.ts";
import { loadEngine } from "../src/engine/load.ts";
import { openEngine } from "../src/engine/open.ts";
import { block, geometry } from "../src/kv/geometry.ts";
import { readConfig } from "../src/model/config.ts";
import { type EngineFile, ensureEngineFile } from "../src/model/engine-file.ts";
import { attentionRows, weightFileName } from "../src/model/graph.ts";
import { resolveModel } from "../src/model/resolve.ts";
import { InferenceSession, Tensor } from "../src/ort/index.ts";
import { sessionOptions } from "../src/ort/session-options.ts";
import { productsOf } from "./matrix-products.ts";

interface Measured {
  info: EngineInfo;
  buildS: number;
  loadS: number;
  weightBytes: number;
  residentBytes: number;
  prefillTokensPerS: number;
  /** A step's median milliseconds across the border of the engine's worker, as the server sees it; and without it. */
  decodeMs: number;
  decodeMsInWorker: number;
  /** What a step's linear layers alone take, and all its matrix products; by turns with the steps in the worker. */
  linearMs: number;
  productsMs: number;
}

const sink = 4;
const prefillTokens = 512;
/** A rate comes of at least so many steps and so many seconds. */
const decodeSteps = 150;
const decodeS = 3;
/** Steps and products take turns this many times. */
const turns = 5;

const { values } = parseArgs({
  options: {
    model: { type: "string" },
    quants: { type: "string", default: "q4,q8,f32" },
    windows: { type: "string", default: "64,1024" },
    rounds: { type: "string", default: "5" },
    threads: { type: "string", default: String(availableParallelism()) },
    peer: { type: "string" },
    part: { type: "string" },
    case: { type: "string", default: "" },
  },
});

/** What a process of its own measures of one case. */
const parts = { build, resident, served, share };
const part = parts[values.part as keyof typeof parts];
if (part) console.log(JSON.stringify(await part(optionsOf(values.case))));
else compare();

function compare(): void {
  const cases = values.quants.split(",").flatMap((quant) => values.windows.split(",").map((w) => `${quant},${w}`));
  const results = new Map<string, Measured[]>(cases.map((name) => [name, []]));
  process.env.KAKEYA_CACHE_DIR = mkdtempSync(join(tmpdir(), "kakeya-bench-cache-")); // every engine file is built once
  const peer: number[] = [];
  const loads: number[] = [];
  try {
    const built = new Map(cases.map((name) => [name, inProcessOfItsOwn("build", name)]));
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const name of cases) {
        if (values.peer) peer.push(peerRate(values.peer));
        loads.push(loadavg()[0] ?? 0);
        const measured = (["resident", "served", "share"] as const).map((what) => inProcessOfItsOwn(what, name));
        results.get(name)?.push(Object.assign({}, built.get(name), ...measured));
      }
    }
  } finally {
    rmSync(cacheRoot(), { recursive: true, force: true });
  }
  const report = {
    kind: "bench_engine",
    model: values.model ?? "kakeya-tiny",
    cpu: cpus()[0]?.model,
    instructions: vectorInstructions(),
    cores: cpus().length,
    threads: Number(values.threads),
    load_average: { min: Math.min(...loads), median: percentile(loads, 0.5), max: Math.max(...loads) },
    ...(peer.length > 0 ? { peer: { command: values.peer, decode_tokens_per_s: peer } } : {}),
    cases: [...results].map(([name, runs]) => summary(name, runs, percentile(peer, 0.5))),
  };
  console.log(JSON.stringify(report, null, 2));
}

function summary(name: string, runs: Measured[], peerRate: number | null): Record<string, unknown> {
  const median = (of: (run: Measured) => number) => rounded(percentile(runs.map(of), 0.5) ?? Number.NaN);
  const decode = median((run) => 1000 / run.decodeMs);
  return {
    case: name,
    exact: runs.every((run) => run.info.exact),
    decode_tokens_per_s: decode,
    decode_ms: median((run) => run.decodeMs),
    decode_in_worker_ms: median((run) => run.decodeMsInWorker),
    linear_layers_alone_ms: median((run) => run.linearMs),
    matrix_products_alone_ms: median((run) => run.productsMs),
    outside_linear_layers: median((run) => 1 - run.linearMs / run.decodeMsInWorker),
    outside_matrix_products: median((run) => 1 - run.productsMs / run.decodeMsInWorker),
    ...(peerRate ? { decode_against_peer: rounded(decode / peerRate) } : {}),
    prefill_tokens_per_s: median((run) => run.prefillTokensPerS),
    build_s: median((run) => run.buildS),
    load_s: median((run) => run.loadS),
    weights_mb: median((run) => run.weightBytes / 1e6),
    kv_slab_mb: median((run) => run.info.kvSlabBytes / 1e6),
    resident_mb: median((run) => run.residentBytes / 1e6),
  };
}

function inProcessOfItsOwn(part: keyof typeof parts, name: string): Partial<Measured> {
  const args = ["--part", part, "--case", name, "--threads", values.threads];
  const model = values.model ? ["--model", values.model] : [];
  const child = Bun.spawnSync([process.execPath, import.meta.path, ...args, ...model], {
    env: process.env, // with the cache of this run
    stderr: "inherit",
  });
  if (child.exitCode !== 0) throw new Error(`${part} of the case ${name} failed with exit code ${child.exitCode}`);
  return JSON.parse(child.stdout.toString());
}

function peerRate(command: string): number {
  const output = Bun.spawnSync(["sh", "-c", command], { stderr: "inherit" }).stdout.toString();
  const rate = Number(/tok\/s=([\d.]+)/.exec(output)?.[1]);
  if (!(rate > 0)) throw new Error(`the peer printed no "tok/s=NUMBER": ${output.slice(0, 200)}`);
  return rate;
}

function optionsOf(name: string): EngineOptions {
  const [quantization, window] = name.split(",");
  return {
    quantization: quantization as Quantization,
    sink,
    window: Number(window),
    capacity: 1,
    threads: Number(values.threads),
    ...(values.model ? { model: values.model } : {}),
  };
}

async function engineFile(options: EngineOptions): Promise<EngineFile> {
  const { dir } = resolveModel(options.model, process.env);
  const { quantization } = options;
  return ensureEngineFile({
    modelDir: dir,
    config: readConfig(dir),
    quantization,
    cacheDir: cacheRoot(),
    onProgress() {},
  });
}

async function build(options: EngineOptions): Promise<Partial<Measured>> {
  const [file, buildS] = await timed(() => engineFile(options));
  return { buildS, weightBytes: statSync(join(file.dir, weightFileName)).size };
}

/** Of a process that opens an engine, fills a session's window and decodes, and does nothing else. */
async function resident(options: EngineOptions): Promise<Partial<Measured>> {
  const [engine, loadS] = await timed(() => openEngine(options));
  const slab = await engine.createSlab();
  await engine.append(slab, words(options.window + prefillTokens, engine.info));
  for (let i = 0; i < decodeSteps; i++) await engine.decode([{ slab, sampling: greedy }]);
  const residentBytes = process.memoryUsage.rss();
  await engine.close();
  return { info: engine.info, loadS, residentBytes };
}

async function served(options: EngineOptions): Promise<Partial<Measured>> {
  const engine = await openEngine(options);
  const slab = await engine.createSlab();
  await engine.append(slab, words(options.window + 64, engine.info)); // a full window
  const [, prefillS] = await timed(() => engine.append(slab, words(prefillTokens, engine.info)));
  const decodeMs = medianMs(await times(() => engine.decode([{ slab, sampling: greedy }])));
  await engine.close();
  return { prefillTokensPerS: prefillTokens / prefillS, decodeMs };
}

/** Decode steps, runs of their linear layers alone and of all their matrix products, by turns in one process. */
async function share(options: EngineOptions): Promise<Partial<Measured>> {
  const { core, info } = await loadEngine(options, () => {});
  const slab = core.createSlab();
  await core.append(slab, words(options.window + 64, info));
  const step = () => core.decode([{ slab, sampling: greedy }]);
  const sides = [step, await products(options, false), await products(options, true)];
  const seconds: number[][] = sides.map(() => []);
  for (let turn = 0; turn < turns; turn++) {
    for (const [i, side] of sides.entries()) seconds[i]?.push(...(await times(side, 1 / turns)));
  }
  const [decodeMsInWorker, linearMs, productsMs] = seconds.map(medianMs);
  return { decodeMsInWorker, linearMs, productsMs } as Partial<Measured>;
}

/** Runs the linear layers, or all matrix products, of one token's step, and nothing else. */
async function products(options: EngineOptions, attention: boolean): Promise<() => Promise<unknown>> {
  const file = await engineFile(options);
  const config = readConfig(resolveModel(options.model, process.env).dir);
  const { ringRows } = geometry(options.sink, options.window);
  const sizes = { ...config, attentionRows: attentionRows(config).perToken, ringRows, block };
  const { model, inputs, output } = productsOf(readFileSync(file.modelPath), sizes, attention);
  const path = join(file.dir, `products-${attention}.onnx`); // where its weights are
  writeFileSync(path, model);
  const session = await InferenceSession.create(path, sessionOptions(options.threads ?? 1));
  const tensor = (shape: number[]) => {
    const size = shape.reduce((a, b) => a * b);
    return new Tensor(
      "float32",
      Float32Array.from({ length: size }, (_, i) => Math.sin(i)),
      shape,
    );
  };
  const feeds = Object.fromEntries(inputs.map(({ name, shape }) => [name, tensor(shape)]));
  return () => session.run(feeds, [output]);
}

function words(count: number, { vocabSize }: EngineInfo): Uint32Array {
  return Uint32Array.from({ length: count }, (_, i) => (i * 7919) % vocabSize);
}

async function timed<T>(run: () => Promise<T>): Promise<[value: T, seconds: number]> {
  const start = performance.now();
  const value = await run();
  return [value, (performance.now() - start) / 1000];
}

/** The seconds of each of many runs; `share` of what a rate needs. */
async function times(run: () => Promise<unknown>, share = 1): Promise<number[]> {
  const seconds: number[] = [];
  const end = performance.now() + 1000 * decodeS * share;
  while (seconds.length < decodeSteps * share || performance.now() < end) seconds.push((await timed(run))[1]);
  return seconds;
}

/** Milliseconds; the first half, in which the code gets warm, is left out. */
function medianMs(seconds: number[]): number {
  return 1000 * (percentile(seconds.slice(seconds.length / 2), 0.5) ?? Number.NaN);
}

/** Which of the instructions that decide over a kernel's speed this processor has; empty where the system doesn't say. */
function vectorInstructions(): string[] {
  const flags = process.platform === "linux" ? readFileSync("/proc/cpuinfo", "utf8") : "";
  return ["avx2", "avx512f", "avx512_vnni", "asimd", "asimddp", "i8mm"].filter((flag) => flags.includes(` ${flag}`));
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
