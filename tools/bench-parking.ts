/**
 * What a state folder costs a server, and prints JSON: decoding with and without --state by turns; the gaps between the
 * ids of one session while others are parked and restored; how long a parked session takes to its first id, and one whose
 * server was killed; and with --parked, how fast and how large a server starts over so many parked sessions.
 *
 *     bun tools/bench-parking.ts [--model DIR] [--quant q8] [--tokens 300] [--rounds 5] [--parked 10000]
 */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Client, type Session } from "../src/client/index.ts";
import { OwnServer } from "../src/connection/own-server.ts";
import { percentile } from "../src/report/stats.ts";
import { SqliteStore } from "../src/state/sqlite-store.ts";

const { values } = parseArgs({
  options: {
    model: { type: "string" },
    quant: { type: "string", default: "q8" },
    window: { type: "string", default: "64" },
    tokens: { type: "string", default: "300" },
    rounds: { type: "string", default: "5" },
    parked: { type: "string", default: "0" },
  },
});
const tokens = Number(values.tokens);
const rounds = Number(values.rounds);
const folder = mkdtempSync(join(tmpdir(), "kakeya-bench-parking-"));
const loadAtStart = loadavg();
/** Long enough to fill the cache, short enough to be computed at once. */
const prompt = Array.from({ length: 200 }, (_, i) => (i * 13) % 500);

try {
  const report = {
    kind: "bench_parking",
    command: `bun tools/bench-parking.ts ${process.argv.slice(2).join(" ")}`.trim(),
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    load_average_at_start: loadAtStart,
    decode: await compareDecode(),
    while_others_are_parked: await measureGaps(),
    first_id_of_a_parked_session: await measureParked(),
    first_id_after_a_kill: await measureKilled(),
    ...(values.parked === "0" ? {} : { start: await compareStarts(Number(values.parked)) }),
    load_average_at_end: loadavg(),
  };
  console.log(JSON.stringify(report, null, 2));
} finally {
  rmSync(folder, { recursive: true });
}

function start(...flags: string[]): Promise<OwnServer> {
  const model = values.model === undefined ? [] : ["--model", values.model];
  return OwnServer.start({
    kakeya: [process.execPath, resolve(import.meta.dir, "../src/main.ts")],
    flags: [
      ...model,
      "--quant",
      values.quant,
      "--window",
      values.window,
      "--draft",
      "off",
      "--log-level",
      "warn",
      ...flags,
    ],
    logPath: join(folder, "server.log"),
  });
}

/** Milliseconds between the ids of one generation; the first is from the call to the first id. */
async function gapsOf(session: Session, maxTokens: number, signal?: AbortSignal): Promise<number[]> {
  const gaps: number[] = [];
  let last = performance.now();
  try {
    for await (const _ of session.generate({ maxTokens, ...(signal && { signal }) })) {
      const now = performance.now();
      gaps.push(now - last);
      last = now;
    }
  } catch (error) {
    if (!signal?.aborted) throw error;
  }
  return gaps;
}

/** The same session with and without a folder, one after the other in each round. */
async function compareDecode(): Promise<Record<string, unknown>> {
  await using without = await start();
  await using withState = await start("--state", join(folder, "decode"));
  const rates: { without: number; with: number }[] = [];
  const sessions = [];
  for (const server of [without, withState]) {
    const client = new Client(server.address);
    const session = await client.createSession();
    await session.append(prompt);
    await gapsOf(session, 20);
    sessions.push({ client, session });
  }
  const [plain, kept] = sessions;
  if (!plain || !kept) throw new Error("two servers were started");
  for (let round = 0; round < rounds; round++) {
    const rate: number[] = [];
    // Whoever comes second has the warmer machine: they change places.
    const order = round % 2 === 0 ? [plain, kept] : [kept, plain];
    for (const { session } of order) {
      const startedAt = performance.now();
      await gapsOf(session, tokens);
      rate.push((1000 * tokens) / (performance.now() - startedAt));
    }
    const [first = 0, second = 0] = rate;
    rates.push(round % 2 === 0 ? { without: first, with: second } : { without: second, with: first });
  }
  for (const { client } of sessions) client.close();
  const median = (of: (rate: (typeof rates)[number]) => number) =>
    rounded(percentile(rates.map(of), 0.5) ?? Number.NaN);
  return {
    rounds,
    tokens,
    without_tokens_per_s: median((rate) => rate.without),
    with_tokens_per_s: median((rate) => rate.with),
    ratio: median((rate) => rate.with / rate.without),
    ratios: rates.map((rate) => rounded(rate.with / rate.without)),
  };
}

/** One session generates; meanwhile two others take turns on the second place, so that one is parked each time. */
async function measureGaps(): Promise<Record<string, unknown>> {
  await using server = await start("--state", join(folder, "gaps"), "--capacity", "2");
  using client = new Client(server.address);
  const session = await client.createSession();
  await session.append(prompt);
  const alone = await gapsOf(session, tokens);
  const others = [];
  for (let i = 0; i < 2; i++) {
    const other = await client.createSession();
    await other.append(prompt);
    others.push(other);
  }
  const done = new AbortController();
  const meanwhile = gapsOf(session, 1_000_000, done.signal);
  for (let i = 0; i < 2 * rounds; i++) await others[i % 2]?.append([1]);
  done.abort();
  // The first waits for the turn of those before it.
  const gaps = (await meanwhile).slice(1);
  const spread = (all: number[]) => ({
    p50_ms: rounded(percentile(all, 0.5) ?? Number.NaN),
    p99_ms: rounded(percentile(all, 0.99) ?? Number.NaN),
    max_ms: rounded(percentile(all, 1) ?? Number.NaN),
  });
  return { swaps: 2 * rounds, alone: spread(alone.slice(1)), meanwhile: spread(gaps), ids_meanwhile: gaps.length };
}

/** Two sessions on one place: each call finds its session parked. */
async function measureParked(): Promise<Record<string, unknown>> {
  await using server = await start("--state", join(folder, "parked"), "--capacity", "1");
  using client = new Client(server.address);
  const sessions = [await client.createSession(), await client.createSession()];
  for (const session of sessions) await session.append(prompt);
  const times: number[] = [];
  for (let i = 0; i < 2 * rounds; i++) {
    const session = sessions[i % 2];
    if (session) times.push((await gapsOf(session, 1))[0] ?? Number.NaN);
  }
  return summary(times);
}

/** All 256 ids that no snapshot holds are computed again. */
async function measureKilled(): Promise<Record<string, unknown>> {
  const times: number[] = [];
  let replayed = 0;
  for (let round = 0; round < rounds; round++) {
    const dir = join(folder, `killed-${round}`);
    const server = await start("--state", dir);
    let id: string;
    {
      using client = new Client(server.address);
      const session = await client.createSession();
      id = session.id;
      await session.append(Array.from({ length: 255 }, (_, i) => (i * 13) % 500));
      await server.kill();
    }
    await server.startAgain();
    using client = new Client(server.address);
    await client.runtimeInfo();
    times.push((await gapsOf(client.session(id), 1))[0] ?? Number.NaN);
    replayed = (await client.session(id).info()).replayedTokens;
    await server.stop();
  }
  return { replayed_tokens: replayed, ...summary(times) };
}

/** A folder of so many sessions against an empty one. */
async function compareStarts(count: number): Promise<Record<string, unknown>> {
  const [empty, full] = [join(folder, "none"), join(folder, "many")];
  const runs: { empty: Started; full: Started }[] = [];
  await fill(full, count);
  for (let round = 0; round < rounds; round++) runs.push({ empty: await started(empty), full: await started(full) });
  const median = (of: (run: (typeof runs)[number]) => number) => rounded(percentile(runs.map(of), 0.5) ?? Number.NaN);
  return {
    parked: count,
    empty_ready_ms: median(({ empty }) => empty.readyMs),
    full_ready_ms: median(({ full }) => full.readyMs),
    empty_resident_mb: median(({ empty }) => empty.residentMb),
    full_resident_mb: median(({ full }) => full.residentMb),
  };
}

interface Started {
  readyMs: number;
  residentMb: number;
}

async function started(dir: string): Promise<Started> {
  const begunAt = performance.now();
  await using server = await start("--state", dir);
  const readyMs = performance.now() - begunAt;
  using client = new Client(server.address);
  const session = await client.createSession();
  await session.append(prompt);
  await gapsOf(session, 20);
  await session.close();
  const resident = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${server.pid}/status`, "utf8"))?.[1];
  return { readyMs, residentMb: Number(resident) / 1e3 };
}

/** Many copies of a session that a server has parked. */
async function fill(dir: string, count: number): Promise<void> {
  let id: string;
  {
    await using server = await start("--state", dir);
    using client = new Client(server.address);
    const session = await client.createSession();
    id = session.id;
    await session.append(prompt);
  }
  await using store = await SqliteStore.open({ dir, sync: "normal" });
  for (let i = 1; i < count; i++) await store.fork(id, prompt.length, { id: `copy ${i}`, label: "", eosTokenIds: [] });
}

function summary(times: number[]): Record<string, number> {
  return {
    times: times.length,
    p50_ms: rounded(percentile(times, 0.5) ?? Number.NaN),
    max_ms: rounded(percentile(times, 1) ?? Number.NaN),
  };
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
