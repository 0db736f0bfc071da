/**
 * Measures what a server adds to its engine, and prints JSON: a token over gRPC against the engine's own step, by turns;
 * resident memory above weights and slabs; the check of the row rule at load. Times of one machine prove little: read the
 * ratio, which is a median over turns.
 *
 *     bun tools/bench-overheads.ts [--model DIR] [--quant q8] [--kv f32] [--window 64] [--threads 2] [--turns 15]
 */

import { mkdtempSync, rmSync, statSync } from "node:fs";
import { availableParallelism, cpus, loadavg, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Client } from "../src/client/index.ts";
import { OwnServer } from "../src/connection/own-server.ts";
import { loadBackend } from "../src/engine/load.ts";
import { type Padded, settleRowRule } from "../src/engine/row-rule.ts";
import { weightFileName } from "../src/graph/plan.ts";
import { block } from "../src/kv/geometry.ts";
import { percentile } from "../src/report/stats.ts";

const sink = 4;
const tokensATurn = 50;
const { values } = parseArgs({
  options: {
    model: { type: "string" },
    quant: { type: "string", default: "q8" },
    kv: { type: "string", default: "f32" },
    window: { type: "string", default: "64" },
    threads: { type: "string", default: String(availableParallelism()) },
    turns: { type: "string", default: "15" },
  },
});
const window = Number(values.window);
const quantization = (["q4", "q8", "f32"] as const).find((each) => each === values.quant) ?? "q8";
const kv = (["f32", "q8"] as const).find((each) => each === values.kv) ?? "f32";
const median = (all: readonly number[]) => Number(percentile([...all], 0.5)?.toPrecision(4));

const engine = await ownEngine();
const folder = mkdtempSync(join(tmpdir(), "kakeya-bench-overheads-"));
const server = await servedSession();
const turns: { stepMs: number; grpcMs: number }[] = [];
for (let turn = 0; turn < Number(values.turns); turn++) {
  turns.push({ stepMs: await engine.msAToken(), grpcMs: await server.msAToken() });
}
const ruleMs = await engine.ruleMs();
const residentMb = await server.close();
rmSync(folder, { recursive: true });
console.log(
  JSON.stringify(
    {
      kind: "bench_overheads",
      model: values.model ?? "kakeya-tiny",
      case: { quantization, kv, window, capacity: 1, threads: Number(values.threads) },
      cpu: cpus()[0]?.model,
      load_average: loadavg()[0],
      step_ms: median(turns.map(({ stepMs }) => stepMs)),
      grpc_ms_a_token: median(turns.map(({ grpcMs }) => grpcMs)),
      grpc_over_step: median(turns.map(({ stepMs, grpcMs }) => grpcMs / stepMs)),
      resident_mb: Number(residentMb.toPrecision(4)),
      weights_and_slab_mb: Number(engine.ownMb.toPrecision(4)),
      resident_above_mb: Number((residentMb - engine.ownMb).toPrecision(4)),
      row_rule_check_ms: ruleMs,
    },
    null,
    2,
  ),
);
process.exit(0);

/** The engine in this thread, with a sequence whose window is full. */
async function ownEngine() {
  const { model } = values;
  const threads = Number(values.threads);
  const load = { quantization, kv, sink, window, capacity: 2, threads, ...(model === undefined ? {} : { model }) };
  const { backend, info, dir } = await loadBackend(load, () => {});
  const sequence = backend.create();
  const commit = async (tokenIds: number[]) =>
    (await backend.run([{ sequence, tokenIds }], "last")).commit(0, tokenIds.length);
  await commit(words(sink, info.vocabSize));
  while (sequence.position < window + 2 * block) await commit(words(block, info.vocabSize));
  return {
    ownMb: (statSync(join(dir, weightFileName)).size + info.kvSlabBytes) / 1e6,
    msAToken: async () => {
      const startedAtMs = performance.now();
      for (let i = 0; i < tokensATurn; i++) await commit([sequence.best]);
      return (performance.now() - startedAtMs) / tokensATurn;
    },
    /** The median of five checks; the sequence is gone then, for they need all places. */
    ruleMs: async () => {
      backend.free(sequence);
      const took: number[] = [];
      const decoder: Padded = Reflect.get(backend, "decoder");
      for (let i = 0; i < 5; i++) {
        const startedAtMs = performance.now();
        await settleRowRule(backend, decoder);
        took.push(performance.now() - startedAtMs);
      }
      return median(took);
    },
  };
}

/** A session of a server, with a full window. */
async function servedSession() {
  const model = values.model === undefined ? [] : ["--model", values.model];
  const flags = ["--quant", quantization, "--kv", kv, "--window", values.window, "--threads", values.threads];
  const server = await OwnServer.start({
    kakeya: [process.execPath, resolve(import.meta.dir, "../src/main.ts")],
    flags: [...model, ...flags, "--capacity", "1", "--draft", "off", "--log-level", "warn"],
    logPath: join(folder, "server.log"),
  });
  const client = new Client(server.address);
  const session = await client.createSession();
  await session.append(words(window + 2 * block, (await client.runtimeInfo()).vocabSize));
  return {
    msAToken: async () => {
      // From the call on: a generation is a few steps ahead of its reader, so that the ids after the first one come early.
      const startedAtMs = performance.now();
      for await (const _ of session.generate({ maxTokens: tokensATurn }));
      return (performance.now() - startedAtMs) / tokensATurn;
    },
    close: async () => {
      const { residentBytes } = await client.runtimeInfo();
      client.close();
      await server[Symbol.asyncDispose]();
      return residentBytes / 1e6;
    },
  };
}

function words(count: number, vocabSize: number): number[] {
  return Array.from({ length: count }, (_, i) => (i * 7919 + 10) % vocabSize);
}
