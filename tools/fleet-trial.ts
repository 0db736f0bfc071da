/**
 * Three servers behind a real proxy, with sessions that check each id that they hear against one engine alone, while servers
 * are killed, stopped and restarted. Needs Debian's haproxy, nginx and postgresql; prints JSON, and exits with 1 when
 * anything was not as it must be.
 *
 *     bun tools/fleet-trial.ts [--parts routing,http,kill,pause,rolling,faults,disk,database] [--proxies haproxy,nginx] [--duration 10m]
 *         [--sessions 300] [--think 5s] [--lease 10s] [--every 60s]
 */

import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { duration } from "../src/cli/units.ts";
import { openEngine } from "../src/engine/open.ts";
import { defaultEngineOptions } from "../src/host/options.ts";
import { partNames, parts, type TrialOptions } from "./fleet/parts.ts";
import { proxyKinds } from "./fleet/processes.ts";
import { Expected } from "./fleet/script.ts";

const { values } = parseArgs({
  options: {
    parts: { type: "string", default: partNames.join(",") },
    proxies: { type: "string", default: proxyKinds.join(",") },
    duration: { type: "string", default: "10m" },
    sessions: { type: "string", default: "300" },
    think: { type: "string", default: "5s" },
    lease: { type: "string", default: "10s" },
    every: { type: "string", default: "60s" },
  },
});

const loadAtStart = loadavg();
const startedAt = new Date();
const engine = await openEngine({ ...defaultEngineOptions, capacity: 12, threads: 1 });
const options: TrialOptions = {
  durationS: duration("duration", values.duration),
  sessions: Number(values.sessions),
  thinkS: duration("think", values.think),
  leaseS: duration("lease", values.lease),
  everyS: duration("every", values.every),
  expected: new Expected(engine),
};
const results = [];
for (const name of chosen("parts", values.parts, partNames)) {
  for (const proxy of chosen("proxies", values.proxies, proxyKinds)) {
    const result = await parts[name](proxy, options).catch((error: unknown) => ({
      passed: false,
      error: String(error),
    }));
    process.stderr.write(`${name} behind ${proxy}: ${result.passed ? "passed" : "FAILED"}\n`);
    results.push({ part: name, proxy, ...result });
  }
}
await engine.close();
const passed = results.every(({ passed }) => passed);
const report = {
  kind: "fleet_trial",
  command: `bun tools/fleet-trial.ts ${process.argv.slice(2).join(" ")}`.trim(),
  startedAt: startedAt.toISOString(),
  finishedAt: new Date().toISOString(),
  cpu: cpus()[0]?.model,
  cores: cpus().length,
  loadAtStart,
  loadAtEnd: loadavg(),
  lease_s: options.leaseS,
  passed,
  results,
};
console.log(JSON.stringify(report, null, 2));
process.exit(passed ? 0 : 1);

function chosen<const T extends string>(flag: string, given: string, names: readonly T[]): T[] {
  return given.split(",").map((name) => {
    const found = names.find((known) => known === name);
    if (found === undefined) throw new Error(`--${flag} is a list of ${names.join(", ")}; "${name}" is none of them`);
    return found;
  });
}
