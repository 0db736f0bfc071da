/**
 * Many connections that create, append, generate, cancel, check, close and send bad calls at random, against a server
 * of its own. Prints JSON: what each kind of call came to, what nobody expected, and the server's memory.
 *
 *     bun tools/mixed-load.ts [--duration 10m] [--connections 64] [--capacity 48] [--seed 1] > results/measurements/mixed-load.json
 *
 * Exit code 1 when there was an unexpected error, or a session's slab was lost.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { duration } from "../src/cli/units.ts";
import { Client } from "../src/client/index.ts";
import { OwnServer } from "../src/connection/own-server.ts";
import { percentile, splitMix32, trend } from "../src/report/stats.ts";
import { type Operation, type Outcome, operations, randomClient } from "./random-client.ts";

export interface LoadOptions {
  durationS: number;
  /** The load goes on until there were so many calls of each kind, however slow the machine is. */
  leastCalls?: number;
  connections: number;
  seed: number;
  /** Between two looks at the server's memory, in seconds. */
  sampleEveryS: number;
}

export interface LoadResult {
  calls: Record<
    Operation,
    { count: number; errors: Record<string, number>; p50Ms: number | null; p99Ms: number | null }
  >;
  unexpected: string[];
  /** Answers of the server's cheapest call, once a sample. */
  pingMs: { p50: number | null; p99: number | null; max: number | null };
  resident: { atS: number; bytes: number }[];
  /** Theil-Sen slope of resident memory over the second half, with its 95% interval. */
  residentBytesPerHour: { slope: number; low: number; high: number } | null;
  /** Whether as many sessions could be open at the end as the server says it holds. */
  allSlabsFree: boolean;
}

export async function mixedLoad(address: string, options: LoadOptions): Promise<LoadResult> {
  using client = new Client(address);
  const info = await client.runtimeInfo();
  const outcomes: Outcome[] = [];
  const startedAt = performance.now();
  const elapsedS = () => (performance.now() - startedAt) / 1000;
  const { durationS, leastCalls = 0 } = options;
  const calls = new Map<Operation, number>(operations.map((operation) => [operation, 0]));
  const goesOn = () => elapsedS() < durationS || Math.min(...calls.values()) < leastCalls;
  const report = (outcome: Outcome) => {
    outcomes.push(outcome);
    calls.set(outcome.operation, (calls.get(outcome.operation) ?? 0) + 1);
  };

  const workers = Array.from({ length: options.connections }, (_, i) =>
    randomClient(address, info, splitMix32(options.seed * 1_000_003 + i), goesOn, report),
  );
  const resident: LoadResult["resident"] = [];
  const pingsMs: number[] = [];
  while (goesOn()) {
    await Bun.sleep(options.sampleEveryS * 1000);
    const before = performance.now();
    const { residentBytes } = await client.runtimeInfo();
    pingsMs.push(performance.now() - before);
    resident.push({ atS: elapsedS(), bytes: residentBytes });
  }
  await Promise.all(workers);

  const late = resident.slice(Math.floor(resident.length / 2));
  const perHour = trend(
    { x: Float64Array.from(late, ({ atS }) => atS / 3600), y: Float64Array.from(late, ({ bytes }) => bytes) },
    1,
  );
  return {
    calls: byOperation(outcomes),
    unexpected: outcomes.flatMap(({ unexpected }) => unexpected ?? []),
    pingMs: { p50: percentile(pingsMs, 0.5), p99: percentile(pingsMs, 0.99), max: percentile(pingsMs, 1) },
    resident,
    residentBytesPerHour: perHour && { slope: perHour.slope, low: perHour.low, high: perHour.high },
    allSlabsFree: await canFill(client, info.sessionCapacity),
  };
}

function byOperation(outcomes: readonly Outcome[]): LoadResult["calls"] {
  const summary = (operation: Operation) => {
    const own = outcomes.filter((outcome) => outcome.operation === operation);
    const errors: Record<string, number> = {};
    for (const { error } of own) if (error !== undefined) errors[error] = (errors[error] ?? 0) + 1;
    const latenciesMs = own.map(({ latencyMs }) => latencyMs);
    return { count: own.length, errors, p50Ms: percentile(latenciesMs, 0.5), p99Ms: percentile(latenciesMs, 0.99) };
  };
  const { create, append, generate, cancel, check, close, bad } = Object.fromEntries(
    operations.map((operation) => [operation, summary(operation)]),
  ) as LoadResult["calls"];
  return { create, append, generate, cancel, check, close, bad };
}

/** Every slab can be taken by a session that is used: none was lost. */
async function canFill(client: Client, capacity: number): Promise<boolean> {
  const sessions = await Promise.all(Array.from({ length: capacity }, () => client.createSession()));
  const lengths = await Promise.all(sessions.map((session) => session.append([1]).catch(() => 0)));
  await Promise.all(sessions.map((session) => session.close().catch(() => {})));
  return lengths.every((length) => length === 1);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      duration: { type: "string", default: "10m" },
      connections: { type: "string", default: "64" },
      capacity: { type: "string", default: "48" },
      seed: { type: "string", default: "1" },
    },
  });
  const folder = mkdtempSync(join(tmpdir(), "kakeya-mixed-load-"));
  const server = await OwnServer.start({
    kakeya: [process.execPath, resolve(import.meta.dir, "../src/main.ts")],
    flags: ["--capacity", values.capacity, "--evict", "lru", "--log-level", "warn"],
    logPath: join(folder, "server.log"),
  });
  const options: LoadOptions = {
    durationS: duration("duration", values.duration),
    connections: Number(values.connections),
    seed: Number(values.seed),
    sampleEveryS: 1,
  };
  const world = {
    startedAt: new Date().toISOString(),
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    loadAtStart: loadavg(),
  };
  const result = await mixedLoad(server.address, options);
  await server.stop();
  const serverLog = await Bun.file(join(folder, "server.log")).text();
  rmSync(folder, { recursive: true });
  const { durationS, connections, seed } = options;
  const run = { durationS, connections, seed, capacity: Number(values.capacity) };
  console.log(
    JSON.stringify({ kind: "mixed_load", ...world, loadAtEnd: loadavg(), run, ...result, serverLog }, null, 2),
  );
  process.exit(result.unexpected.length === 0 && result.allSlabsFree ? 0 : 1);
}
