/**
 * Asks a server for its health all the time while it prefills, and prints JSON: how long the answers took, and what
 * they take when it is idle. Times of one machine prove little; read the ratio.
 *
 *     bun tools/bench-event-loop.ts [--tokens 10000] [--rounds 5]
 */

import { mkdtempSync, rmSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Channel, ChannelCredentials } from "@grpc/grpc-js";
import { createClient } from "nice-grpc";
import { HealthDefinition } from "nice-grpc-server-health";
import { Client } from "../src/client/index.ts";
import { OwnServer } from "../src/connection/own-server.ts";
import { percentile } from "../src/report/stats.ts";

const { values } = parseArgs({
  options: { tokens: { type: "string", default: "10000" }, rounds: { type: "string", default: "5" } },
});
const tokens = Number(values.tokens);

const folder = mkdtempSync(join(tmpdir(), "kakeya-event-loop-"));
const server = await OwnServer.start({
  kakeya: [process.execPath, resolve(import.meta.dir, "../src/main.ts")],
  flags: ["--log-level", "warn"],
  logPath: join(folder, "server.log"),
});
const channel = new Channel(server.address, ChannelCredentials.createInsecure(), {});
const health = createClient(HealthDefinition, channel);
using client = new Client(server.address);
const { vocabSize } = await client.runtimeInfo();
const ids = Array.from({ length: tokens }, (_, i) => i % vocabSize);

const loadAtStart = loadavg();
const rounds = [];
for (let round = 0; round < Number(values.rounds); round++) {
  const idle = await healthWhile(Bun.sleep(1000));
  const session = await client.createSession();
  const startedAt = performance.now();
  const appending = session.append(ids);
  const prefilling = await healthWhile(appending);
  const prefillS = (performance.now() - startedAt) / 1000;
  await session.close();
  rounds.push({ prefillS, prefilling, idle });
}
channel.close();
await server.stop();
rmSync(folder, { recursive: true });

const kind = "event_loop_health";
const world = { cpu: cpus()[0]?.model, cores: cpus().length, loadAtStart, loadAtEnd: loadavg() };
console.log(JSON.stringify({ kind, ...world, tokens, rounds }, null, 2));
process.exit(0);

/** Latencies of health checks sent one after the other, 2 ms apart, until `work` is done. */
async function healthWhile(work: Promise<unknown>) {
  const latenciesMs: number[] = [];
  let working = true;
  void work.finally(() => {
    working = false;
  });
  while (working) {
    const startedAt = performance.now();
    await health.check({ service: "" });
    latenciesMs.push(performance.now() - startedAt);
    await Bun.sleep(2);
  }
  return {
    checks: latenciesMs.length,
    p50Ms: percentile(latenciesMs, 0.5),
    p99Ms: percentile(latenciesMs, 0.99),
    maxMs: percentile(latenciesMs, 1),
  };
}
