/**
 * Measures the engine and prints JSON: decode and prefill rates, load time, resident memory, and the share of a decode
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
import { openEngine } from "../src/engine/open.ts";

interface Measured {
  info: EngineInfo;
  buildAndLoadS: number;
  loadS: number;
  decodeMsP50: number;
  prefillTokensPerS: number;
  residentBytes: number;
  outsideMatrixProducts: number;
}

const sink = 4;
const decodeSteps = 120;
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
    const times: number[] = [];
    for (let i = 0; i < decodeSteps; i++) {
      const start = performance.now();
      await engine.decode([{ slab, sampling: greedy }]);
      times.push(performance.now() - start);
    }
    const residentBytes = process.memoryUsage.rss();
    await engine.close();
    const decodeMsP50 = percentile(times, 0.5) ?? Number.NaN;
    const productsMs = await matrixProductsMs({ ...options, profilePrefix: join(folder, "profile") }, folder);
    return {
      info: engine.info,
      buildAndLoadS: first.seconds,
      loadS: seconds,
      decodeMsP50,
      prefillTokensPerS,
      residentBytes,
      outsideMatrixProducts: 1 - productsMs / decodeMsP50,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Median milliseconds that the matrix products of one decode step take, from ONNX Runtime's own profile. */
async function matrixProductsMs(options: Parameters<typeof openEngine>[0], folder: string): Promise<number> {
  const steps = 30;
  const engine = await openEngine(options);
  const slab = await engine.createSlab();
  await engine.append(slab, Uint32Array.of(1));
  for (let i = 0; i < steps; i++) await engine.decode([{ slab, sampling: greedy }]);
  await engine.close();
  const file = readdirSync(folder).find((name) => name.startsWith("profile"));
  if (!file) throw new Error("ONNX Runtime wrote no profile");
  const events: { cat: string; name: string; dur: number; args?: { op_name?: string } }[] = JSON.parse(
    readFileSync(join(folder, file), "utf8"),
  );
  const durations = new Map<string, number[]>();
  for (const event of events) {
    if (event.cat !== "Node" || !event.name.endsWith("_kernel_time") || !/MatMul/.test(event.args?.op_name ?? ""))
      continue;
    const of = durations.get(event.name) ?? [];
    of.push(event.dur);
    durations.set(event.name, of);
  }
  return [...durations.values()].reduce((sum, of) => sum + (percentile(of.slice(-steps), 0.5) ?? 0) / 1000, 0);
}

function round3(value: number): number {
  return Number(value.toPrecision(4));
}
