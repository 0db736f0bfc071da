import { dlopen } from "bun:ffi";
import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { cacheRoot } from "../src/cache/folder.ts";
import { readConfig } from "../src/checkpoint/config.ts";
import { resolveModel } from "../src/checkpoint/resolve.ts";
import { openCheckpoint } from "../src/checkpoint/safetensors.ts";
import { type Engine, type EngineInfo, type EngineOptions, greedy, type SequenceId } from "../src/engine/engine.ts";
import { loadEngine } from "../src/engine/load.ts";
import { openEngine } from "../src/engine/open.ts";
import { type EngineFile, ensureEngineFile } from "../src/graph/engine-file.ts";
import { weightFileName } from "../src/graph/plan.ts";
import { attentionRows } from "../src/graph/signature.ts";
import { block, geometry } from "../src/kv/geometry.ts";
import { InferenceSession, Tensor } from "../src/ort/index.ts";
import { sessionOptions } from "../src/ort/session-options.ts";
import { percentile } from "../src/report/stats.ts";
import { productsOf } from "./matrix-products.ts";

/** What is measured of one case: a model, a quantization, a window. */
export interface Measured {
  info: EngineInfo;
  /** With a checkpoint that has to come from the disk, as has the next's. */
  buildS: number;
  /** The most memory that the process which built the engine file ever had. */
  buildPeakBytes: number;
  /** Reading the checkpoint's bytes, writing and flushing as many as the weight file has, and nothing else. */
  diskS: number;
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

const prefillTokens = 512;
/** A rate comes of at least so many steps and so many seconds. */
const decodeSteps = 150;
const decodeS = 3;
/** Steps and products take turns this many times. */
const turns = 5;

/** Each is measured in a process of its own. */
export const parts = { build, resident, served, share };

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
  const checkpoint = openCheckpoint(resolveModel(options.model, process.env).dir);
  checkpoint.close();
  dropFromPageCache(checkpoint.files);
  const [file, buildS] = await timed(() => engineFile(options));
  const buildPeakBytes = process.resourceUsage().maxRSS * 1024;
  const weights = join(file.dir, weightFileName);
  const weightBytes = statSync(weights).size;
  dropFromPageCache(checkpoint.files);
  const [, diskS] = await timed(async () => readAndWrite(checkpoint.files, `${weights}.copy`, weightBytes));
  return { buildS, buildPeakBytes, diskS, weightBytes };
}

/** What a disk has to do for a build, at its own speed. */
function readAndWrite(files: readonly string[], path: string, writeBytes: number): void {
  const buffer = new Uint8Array(8 << 20);
  for (const file of files) {
    const source = openSync(file, "r");
    while (readSync(source, buffer) > 0);
    closeSync(source);
  }
  const copy = openSync(path, "w");
  for (let left = writeBytes; left > 0; ) left -= writeSync(copy, buffer, 0, Math.min(left, buffer.length));
  fsyncSync(copy);
  closeSync(copy);
  rmSync(path);
}

/** linux/fadvise.h. */
const POSIX_FADV_DONTNEED = 4;

/** So that a file is read from the disk, as on the day it came. Only Linux does it. */
function dropFromPageCache(files: readonly string[]): void {
  if (process.platform !== "linux") return;
  const libc = dlopen("libc.so.6", { posix_fadvise: { args: ["i32", "i64", "i64", "i32"], returns: "i32" } });
  for (const file of files) {
    const fd = openSync(file, "r");
    fsyncSync(fd); // only clean pages are dropped
    libc.symbols.posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    closeSync(fd);
  }
  libc.close();
}

/** Of a process that opens an engine, fills a session's window and decodes, and does nothing else. */
async function resident(options: EngineOptions): Promise<Partial<Measured>> {
  const [engine, loadS] = await timed(() => openEngine(options));
  const sequence = await engine.create();
  await engine.append(sequence, words(engine.info.window + prefillTokens, engine.info));
  const step = stepper(engine, sequence);
  for (let i = 0; i < decodeSteps; i++) await step();
  const residentBytes = process.memoryUsage.rss();
  await engine.close();
  return { info: engine.info, loadS, residentBytes };
}

async function served(options: EngineOptions): Promise<Partial<Measured>> {
  const engine = await openEngine(options);
  const sequence = await engine.create();
  await engine.append(sequence, words(engine.info.window + 64, engine.info)); // a full window
  const [, prefillS] = await timed(() => engine.append(sequence, words(prefillTokens, engine.info)));
  const decodeMs = medianMs(await times(stepper(engine, sequence, 2)));
  await engine.close();
  return { prefillTokensPerS: prefillTokens / prefillS, decodeMs };
}

/** Decode steps, runs of their linear layers alone and of all their matrix products, by turns in one process. */
async function share(options: EngineOptions): Promise<Partial<Measured>> {
  const core = await loadEngine(options, () => {});
  const { window } = core.info;
  const sequence = await core.create();
  await core.append(sequence, words(window + 64, core.info));
  const sides = [
    stepper(core, sequence),
    await products(options, window, false),
    await products(options, window, true),
  ];
  const seconds: number[][] = sides.map(() => []);
  for (let turn = 0; turn < turns; turn++) {
    for (const [i, side] of sides.entries()) seconds[i]?.push(...(await times(side, 1 / turns)));
  }
  const [decodeMsInWorker, linearMs, productsMs] = seconds.map(medianMs);
  return { decodeMsInWorker, linearMs, productsMs } as Partial<Measured>;
}

/** Waits for the next step of an endless generation that may run `ahead` steps more than were waited for. */
function stepper(engine: Engine, sequence: SequenceId, ahead = 1): () => Promise<void> {
  let unread = 0;
  let wake = () => {};
  const { allow } = engine.generate(sequence, { sampling: greedy, maxTokens: 2 ** 32, eosTokenIds: [] }, () => {
    unread++;
    wake();
  });
  allow(ahead - 1);
  return async () => {
    allow(1);
    while (unread === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    unread--;
  };
}

/** Runs the linear layers, or all matrix products, of one token's step, and nothing else. */
async function products(options: EngineOptions, window: number, attention: boolean): Promise<() => Promise<unknown>> {
  const file = await engineFile(options);
  const config = readConfig(resolveModel(options.model, process.env).dir);
  const { ringRows } = geometry(options.sink, window);
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
