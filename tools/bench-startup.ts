/**
 * How fast the executable starts, warm: `bun tools/bench-startup.ts [RUNS]`, after `./kakeya build`. Prints JSON.
 * `serve` is timed from its start to the health service's answer, embedded model loaded.
 */
import { loadavg } from "node:os";
import { resolve } from "node:path";
import { createChannel, createClient } from "nice-grpc";
import { HealthDefinition } from "nice-grpc-server-health";
import { readyAddress } from "../src/host/ready.ts";
import { percentile } from "../src/report/stats.ts";

const executable = resolve(import.meta.dir, "../dist/kakeya");
const runs = Number(process.argv[2] ?? 20);

/** Milliseconds until the command has ended. */
async function commandMs(flag: string): Promise<number> {
  const startedAt = performance.now();
  await Bun.spawn([executable, flag], { stdout: "ignore" }).exited;
  return performance.now() - startedAt;
}

/** Milliseconds until a server that was just started says SERVING. */
async function healthMs(): Promise<number> {
  const startedAt = performance.now();
  const command = [executable, "serve", "--bind", "127.0.0.1:0", "--json"];
  const server = Bun.spawn(command, { stdout: "pipe", stderr: "ignore" });
  const address = await readyAddress(server.stdout);
  if (address === undefined) throw new Error("kakeya serve ended before it served");
  const channel = createChannel(address);
  await createClient(HealthDefinition, channel).check({ service: "" });
  const elapsedMs = performance.now() - startedAt;
  channel.close();
  server.kill();
  await server.exited;
  return elapsedMs;
}

/** One run to warm the caches, then `runs`. */
async function measure(run: () => Promise<number>, limitMs: number) {
  await run();
  const timesMs: number[] = [];
  for (let i = 0; i < runs; i++) timesMs.push(await run());
  const [medianMs = Number.NaN, p95Ms] = [0.5, 0.95].map((p) => Number(percentile(timesMs, p)?.toFixed(1)));
  return { median_ms: medianMs, p95_ms: p95Ms, limit_ms: limitMs, within: medianMs < limitMs };
}

const results = {
  runs,
  load_average: Number(loadavg()[0]?.toFixed(2)),
  version: await measure(() => commandMs("--version"), 30),
  help: await measure(() => commandMs("--help"), 60),
  serve_health: await measure(healthMs, 500),
};
console.log(JSON.stringify(results, null, 2));
