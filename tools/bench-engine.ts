/**
 * Measures the engine and prints JSON: decode and prefill rates, the share of a decode step outside the linear layers,
 * build and load times, resident memory. Every case runs in processes of its own; the cases, and the peer if there is
 * one, take turns, and each figure is the median over the rounds. Times of one machine prove little: read the ratios.
 *
 *     bun tools/bench-engine.ts --model DIR [--quants q4,q8,f32] [--windows 64,1024] [--rounds 5]
 *                               [--threads 2] [--peer "command that prints tok/s=NUMBER"]
 */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { cacheRoot } from "../src/cache/folder.ts";
import type { EngineOptions, Quantization } from "../src/engine/engine.ts";
import { percentile } from "../src/report/stats.ts";
import { type Measured, parts } from "./engine-measurements.ts";

/** One case in one round, and the peer's tokens a second just before. */
type Run = Measured & { peer?: number };

const sink = 4;

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

const part = parts[values.part as keyof typeof parts];
if (part) console.log(JSON.stringify(await part(optionsOf(values.case))));
else compare();

function compare(): void {
  const quants = values.quants.split(",");
  const cases = quants.flatMap((quant) => values.windows.split(",").map((window) => `${quant},${window}`));
  const results = new Map<string, Run[]>(cases.map((name) => [name, []]));
  process.env.KAKEYA_CACHE_DIR = mkdtempSync(join(tmpdir(), "kakeya-bench-cache-")); // each engine file is built once, by this run
  const peers: number[] = [];
  const loads: number[] = [];
  try {
    const built = new Map(quants.map((quant) => [quant, inProcessOfItsOwn("build", `${quant},1`)]));
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const name of cases) {
        console.error(`round ${round + 1} of ${values.rounds}: ${name}`);
        const peer = values.peer ? peerRate(values.peer) : undefined;
        if (peer) peers.push(peer);
        loads.push(loadavg()[0] ?? 0);
        const measured = (["served", "share", "resident"] as const).map((what) => inProcessOfItsOwn(what, name));
        results.get(name)?.push(Object.assign({ peer }, built.get(name.split(",")[0] ?? ""), ...measured));
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
    ...(peers.length > 0 ? { peer: { command: values.peer, decode_tokens_per_s: peers } } : {}),
    cases: [...results].map(([name, runs]) => summary(name, runs)),
  };
  console.log(JSON.stringify(report, null, 2));
}

function summary(name: string, runs: Run[]): Record<string, unknown> {
  const median = (of: (run: Run) => number) => rounded(percentile(runs.map(of), 0.5) ?? Number.NaN);
  return {
    case: name,
    exact: runs.every((run) => run.info.exact),
    decode_tokens_per_s: median((run) => 1000 / run.decodeMs),
    decode_ms: median((run) => run.decodeMs),
    decode_in_worker_ms: median((run) => run.decodeMsInWorker),
    linear_layers_alone_ms: median((run) => run.linearMs),
    matrix_products_alone_ms: median((run) => run.productsMs),
    outside_linear_layers: median((run) => 1 - run.linearMs / run.decodeMsInWorker),
    outside_matrix_products: median((run) => 1 - run.productsMs / run.decodeMsInWorker),
    ...(runs[0]?.peer ? { decode_against_peer: median((run) => 1000 / run.decodeMs / (run.peer ?? Number.NaN)) } : {}),
    prefill_tokens_per_s: median((run) => run.prefillTokensPerS),
    build_s: median((run) => run.buildS),
    build_peak_mb: median((run) => run.buildPeakBytes / 1e6),
    disk_alone_s: median((run) => run.diskS),
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

/** Which of the instructions that decide over a kernel's speed this processor has; empty where the system doesn't say. */
function vectorInstructions(): string[] {
  const flags = process.platform === "linux" ? readFileSync("/proc/cpuinfo", "utf8") : "";
  return ["avx2", "avx512f", "avx512_vnni", "asimd", "asimddp", "i8mm"].filter((flag) => flags.includes(` ${flag}`));
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
