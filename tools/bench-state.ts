/**
 * Measures the state folder, through its thread as a server uses it, and prints JSON: milliseconds a commit, snapshots'
 * megabytes a second and what they do to commits meanwhile, the journal's bytes a token, and how long opening takes.
 *
 *     bun tools/bench-state.ts [--dir FOLDER] [--commits 2000] [--snapshot-mb 244] > results/measurements/state.json
 */

import { mkdtempSync, rmSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { percentile } from "../src/report/stats.ts";
import type { Sync } from "../src/state/database.ts";
import type { Facts } from "../src/state/facts.ts";
import { openState } from "../src/state/open.ts";
import type { Lease, StateStore } from "../src/state/store.ts";

const { values } = parseArgs({
  options: {
    dir: { type: "string", default: tmpdir() },
    commits: { type: "string", default: "2000" },
    "snapshot-mb": { type: "string", default: "244" },
  },
});
const commits = Number(values.commits);
const snapshotBytes = Number(values["snapshot-mb"]) * 1e6;

const facts: Facts = {
  fingerprint: "0".repeat(64),
  sink: 4,
  window: 64,
  block: 32,
  device: "cpu",
  rowMultiple: 1,
  format: 1,
};

const folder = mkdtempSync(join(values.dir, "kakeya-bench-state-"));
const loadAtStart = loadavg();
try {
  const commit = [];
  for (const sync of ["normal", "full"] as const) {
    for (const rows of [1, 8]) commit.push(await measureCommits(sync, rows));
  }
  const report = {
    kind: "bench_state",
    command: `bun tools/bench-state.ts --commits ${commits} --snapshot-mb ${values["snapshot-mb"]}`,
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    load_average_at_start: loadAtStart,
    commit,
    growth: await measureGrowth(),
    snapshot: await measureSnapshots(),
    open: [await measureOpen(0), await measureOpen(10_000)],
    load_average_at_end: loadavg(),
  };
  console.log(JSON.stringify(report, null, 2));
} finally {
  rmSync(folder, { recursive: true });
}

/** Decode steps: one more id for each of `rows` sessions that have a history already. */
async function measureCommits(sync: Sync, rows: number): Promise<Record<string, unknown>> {
  const store = await openState({ dir: join(folder, `commit-${sync}-${rows}`), sync });
  const leases = await sessions(store, rows);
  await step(store, leases, 0, 10_000);
  const times: number[] = [];
  for (let i = 0; i < commits; i++) {
    const startedAt = performance.now();
    await step(store, leases, 10_000 + i, 1);
    times.push(performance.now() - startedAt);
  }
  await store.close();
  return { sync, rows, commits, ...spread(times) };
}

/** Bytes a token on the disk once everything is in its place: eight sessions that generate by turns. */
async function measureGrowth(): Promise<Record<string, unknown>> {
  const dir = join(folder, "growth");
  const tokens = 5000;
  const store = await openState({ dir, sync: "normal" });
  const leases = await sessions(store, 8);
  for (let position = 0; position < tokens; position++) await step(store, leases, position, 1);
  await store.close();
  const { size } = Bun.file(join(dir, "journal.db"));
  return { sessions: 8, tokens_each: tokens, journal_bytes: size, bytes_a_token: rounded(size / (8 * tokens)) };
}

async function measureSnapshots(): Promise<Record<string, unknown>> {
  const store = await openState({ dir: join(folder, "snapshot"), sync: "normal" });
  const [lease, other] = (await sessions(store, 2)) as [Lease, Lease];
  const writes: number[] = [];
  const reads: number[] = [];
  const meanwhile: number[] = [];
  const lags: number[] = [];
  let position = 0;
  const growth: number[] = [];
  for (let round = 0; round < 5; round++) {
    const body = [new Uint8Array(snapshotBytes).fill(round + 1)];
    const resident = process.memoryUsage.rss();
    let startedAt = performance.now();
    let writing = true;
    const written = store.saveSnapshot(lease, { facts, counts: {}, position: 0, body }).finally(() => {
      writes.push(performance.now() - startedAt);
      writing = false;
    });
    while (writing) {
      const askedAt = performance.now();
      await step(store, [other], position++, 1);
      meanwhile.push(performance.now() - askedAt);
      const sleptAt = performance.now();
      await Bun.sleep(1);
      lags.push(performance.now() - sleptAt - 1);
      growth.push(process.memoryUsage.rss() - resident);
    }
    await written;
    startedAt = performance.now();
    await store.loadSnapshot(lease.id, facts, 0);
    reads.push(performance.now() - startedAt);
  }
  await store.close();
  const rate = (times: number[]) => rounded(snapshotBytes / 1e3 / (percentile(times, 0.5) ?? Number.NaN));
  return {
    megabytes: snapshotBytes / 1e6,
    write_mb_per_s: rate(writes),
    read_mb_per_s: rate(reads),
    commit_meanwhile: spread(meanwhile),
    event_loop_lag_meanwhile: spread(lags),
    resident_growth_mb: rounded((percentile(growth, 1) ?? Number.NaN) / 1e6),
  };
}

async function measureOpen(count: number): Promise<Record<string, unknown>> {
  const dir = join(folder, `open-${count}`);
  const filled = await openState({ dir, sync: "normal" });
  const leases = await sessions(filled, count);
  for (let at = 0; at < count; at += 1000) await step(filled, leases.slice(at, at + 1000), 0, 300);
  await filled.close();
  const times: number[] = [];
  for (let round = 0; round < 10; round++) {
    const startedAt = performance.now();
    const store = await openState({ dir, sync: "normal" });
    times.push(performance.now() - startedAt);
    await store.close();
  }
  return { sessions: count, tokens_each: 300, ...spread(times) };
}

async function sessions(store: StateStore, count: number): Promise<Lease[]> {
  const leases: Lease[] = [];
  for (let i = 0; i < count; i++) {
    leases.push(await store.create({ id: `session ${i}`, label: "bench", eosTokenIds: [2], facts }));
  }
  return leases;
}

async function step(store: StateStore, leases: Lease[], position: number, count: number): Promise<void> {
  const ids = new Uint32Array(count).fill(position);
  await store.commit(leases.map((lease) => ({ lease, position, ids, generated: count })));
}

function spread(times: number[]): Record<string, number> {
  const at = (p: number) => rounded(percentile(times, p) ?? Number.NaN);
  return { p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1) };
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
