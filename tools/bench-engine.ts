/**
 * Measures the engine and prints JSON: decode and prefill rates, build and load times, resident memory, and the share of a decode
 * step outside matrix products. Every case runs in a process of its own; the cases, and the peer if there is one, take
 * turns, and each figure is the median over the rounds. Times of one machine prove little: read the ratios.
 *
 *     bun tools/bench-engine.ts --model DIR [--quants q4,q8,f32] [--windows 64,1024] [--rounds 5]
 *                               [--threads 2] [--peer "command that prints tok/s=NUMBER"]
 */

import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { percentile } from "../src/bench/stats.ts";
import { type EngineInfo, greedy, type Quantization } from "../src/engine/engine.ts";
import { loadEngine } from "../src/engine/load.ts";
import { openEngine } from "../src/engine/open.ts";

interface Measured {
  info: EngineInfo;
  buildAndLoadS: number;
  loadS: number;
  /** Across the border of the engine's worker, as the server sees it; and without it. */
  decodeMsP50: number;
  decodeMsP50InWorker: number;
  prefillTokensPerS: number;
  residentBytes: number;
  outsideMatrixProducts: number;
}

const sink = 4;
const decodeSteps = 120;
const profiledSteps = 30;
const decodeAtLeastMs = 2500;
const prefillTokens = 512;

const { values } = parseArgs({
  options: {
    model: { type: "string" },
    quants: { type: "string", default: "q4,q8,f32" },
    windows: { type: "string", default: "64,1024" },
    rounds: { type: "string", default: "5" },
    threads: { type: "string", default: String(availableParallelism()) },
    peer: { type: "string" },
    only: { type: "string" },
  },
});

if (values.only) {
  const [quantization, window] = values.only.split(",");
  console.log(JSON.stringify(await measure(quantization as Quantization, Number(window))));
} else {
  await compare();
}

async function compare(): Promise<void> {
  const cases = values.quants
    .split(",")
    .flatMap((quant) => values.windows.split(",").map((window) => `${quant},${window}`));
  const results = new Map<string, Measured[]>(cases.map((name) => [name, []]));
  const cache = mkdtempSync(join(tmpdir(), "kakeya-bench-cache-")); // so that the first round builds the engine files
  process.env.KAKEYA_CACHE_DIR = cache;
  const peer: number[] = [];
  const loads: number[] = [];
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const name of cases) {
      if (values.peer) peer.push(peerRate(values.peer));
      loads.push(loadavg()[0] ?? 0);
      results.get(name)?.push(inProcessOfItsOwn(name));
    }
  }
  rmSync(cache, { recursive: true, force: true });
  const summary = [...results].map(([name, runs]) => {
    const median = (of: (run: Measured) => number) => round3(percentile(runs.map(of), 0.5) ?? Number.NaN);
    const decode = median((run) => 1000 / run.decodeMsP50);
    return {
      case: name,
      exact: runs.every((run) => run.info.exact),
      decode_tokens_per_s: decode,
      decode_ms: median((run) => run.decodeMsP50),
      decode_in_worker_tokens_per_s: median((run) => 1000 / run.decodeMsP50InWorker),
      ...(peer.length > 0 ? { decode_against_peer: round3(decode / (percentile(peer, 0.5) ?? Number.NaN)) } : {}),
      prefill_tokens_per_s: median((run) => run.prefillTokensPerS),
      outside_matrix_products: median((run) => run.outsideMatrixProducts),
      build_s: round3(Math.max(0, (runs[0]?.buildAndLoadS ?? Number.NaN) - (runs[0]?.loadS ?? 0))),
      load_s: median((run) => run.loadS),
      resident_mb: median((run) => run.residentBytes / 1e6),
      kv_slab_mb: median((run) => run.info.kvSlabBytes / 1e6),
    };
  });
  console.log(
    JSON.stringify(
      {
        kind: "bench_engine",
        model: values.model,
        cpu: cpus()[0]?.model,
        cores: cpus().length,
        threads: Number(values.threads),
        load_average: { min: Math.min(...loads), median: percentile(loads, 0.5), max: Math.max(...loads) },
        ...(peer.length > 0 ? { peer: { command: values.peer, decode_tokens_per_s: peer } } : {}),
        cases: summary,
      },
      null,
      2,
    ),
  );
}

function inProcessOfItsOwn(name: string): Measured {
  const args = [process.execPath, import.meta.path, "--only", name, "--threads", values.threads];
  const child = Bun.spawnSync([...args, ...(values.model ? ["--model", values.model] : [])], { stderr: "inherit" });
  if (child.exitCode !== 0) throw new Error(`the case ${name} failed with exit code ${child.exitCode}`);
  return JSON.parse(child.stdout.toString());
}

function peerRate(command: string): number {
  const output = Bun.spawnSync(["sh", "-c", command], { stderr: "inherit" }).stdout.toString();
  const rate = Number(/tok\/s=([\d.]+)/.exec(output)?.[1]);
  if (!(rate > 0)) throw new Error(`the peer printed no "tok/s=NUMBER": ${output.slice(0, 200)}`);
  return rate;
}

async function measure(quantization: Quantization, window: number): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), "kakeya-bench-engine-"));
  const options = {
    quantization,
    sink,
    window,
    capacity: 1,
    threads: Number(values.threads),
    ...(values.model ? { model: values.model } : {}),
  };
  try {
    const timed = async () => {
      const start = performance.now();
      const engine = await openEngine(options);
      return { engine, seconds: (performance.now() - start) / 1000 };
    };
    const first = await timed(); // builds the engine file where the cache has none
    await first.engine.close();
    const { engine, seconds } = await timed();
    const slab = await engine.createSlab();
    const words = (count: number) => Uint32Array.from({ length: count }, (_, i) => (i * 7919) % engine.info.vocabSize);
    await engine.append(slab, words(window + 64)); // a full window
    const prefillStart = performance.now();
    await engine.append(slab, words(prefillTokens));
    const prefillTokensPerS = (prefillTokens * 1000) / (performance.now() - prefillStart);
    const decodeMsP50 = await stepMs(() => engine.decode([{ slab, sampling: greedy }]));
    const residentBytes = process.memoryUsage.rss();
    await engine.close();
    const decodeMsP50InWorker = await withoutWorker(options);
    const outside = await shareOutsideProducts({ ...options, profilePrefix: join(folder, "profile") }, folder);
    return {
      info: engine.info,
      buildAndLoadS: first.seconds,
      loadS: seconds,
      decodeMsP50,
      decodeMsP50InWorker,
      prefillTokensPerS,
      residentBytes,
      outsideMatrixProducts: outside,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Median milliseconds of a step, once the code that runs it is warm. */
async function stepMs(step: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  const end = performance.now() + decodeAtLeastMs;
  while (times.length < decodeSteps || performance.now() < end) {
    const start = performance.now();
    await step();
    times.push(performance.now() - start);
  }
  return percentile(times.slice(times.length / 2), 0.5) ?? Number.NaN;
}

/** A step's milliseconds where the engine's worker would measure them. */
async function withoutWorker(options: Parameters<typeof openEngine>[0]): Promise<number> {
  const { core } = await loadEngine(options, () => {});
  const slab = core.createSlab();
  await core.append(
    slab,
    Uint32Array.from({ length: options.window + 64 }, (_, i) => i),
  );
  const ms = await stepMs(() => core.decode([{ slab, sampling: greedy }]));
  await core.close();
  return ms;
}

/**
 * The share of a decode step that ONNX Runtime spends outside matrix products (MatMulNBits, MatMul, FusedMatMul), from
 * its own profile. An upper bound: writing the profile costs a little at every node, and most nodes are no products.
 */
async function shareOutsideProducts(options: Parameters<typeof openEngine>[0], folder: string): Promise<number> {
  const engine = await openEngine(options);
  const slab = await engine.createSlab();
  await engine.append(slab, Uint32Array.of(1));
  for (let i = 0; i < profiledSteps; i++) await engine.decode([{ slab, sampling: greedy }]);
  await engine.close();
  const file = readdirSync(folder).find((name) => name.startsWith("profile"));
  if (!file) throw new Error("ONNX Runtime wrote no profile");
  const events: { name: string; dur: number; args?: { op_name?: string } }[] = JSON.parse(
    readFileSync(join(folder, file), "utf8"),
  );
  const durations = new Map<string, number[]>();
  for (const { name, dur, args } of events) {
    const product = name.endsWith("_kernel_time") && /MatMul/.test(args?.op_name ?? "");
    if (product || name === "model_run") durations.set(name, [...(durations.get(name) ?? []), dur]);
  }
  const typical = (of: number[] | undefined) => percentile((of ?? []).slice(-profiledSteps), 0.5) ?? 0;
  const step = typical(durations.get("model_run"));
  durations.delete("model_run");
  const products = [...durations.values()].reduce((sum, of) => sum + typical(of), 0);
  return 1 - products / step;
}

function round3(value: number): number {
  return Number(value.toPrecision(4));
}
