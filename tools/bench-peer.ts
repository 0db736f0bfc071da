/**
 * Measures servers over gRPC, by turns with a peer, and prints JSON: decode and prefill of one session, eight sessions at
 * once, decode with a full window of 1,024. Each ratio is of one round, in which the peer ran just before; quoted is the
 * median. Guesses are off, since random weights repeat themselves. Times of one machine prove little: read the ratios.
 *
 *     bun tools/bench-peer.ts --model DIR [--quants q4,q8] [--kv f32] [--rounds 5] [--threads 2]
 *                             [--peer-q4 COMMAND] [--peer-q8 COMMAND]
 *
 * A peer prints `name=number` lines: decode_tokens_per_s, prefill_tokens_per_s, eight_tokens_per_s, deep_tokens_per_s.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, cpus, loadavg, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Client, type Session } from "../src/client/index.ts";
import { OwnServer } from "../src/connection/own-server.ts";
import { percentile } from "../src/report/stats.ts";

const figures = ["decode_tokens_per_s", "prefill_tokens_per_s", "eight_tokens_per_s", "deep_tokens_per_s"] as const;
type Figures = Record<(typeof figures)[number], number>;

const { values } = parseArgs({
  options: {
    model: { type: "string" },
    quants: { type: "string", default: "q4,q8" },
    kv: { type: "string", default: "f32" },
    rounds: { type: "string", default: "5" },
    threads: { type: "string", default: String(availableParallelism()) },
    "peer-q4": { type: "string" },
    "peer-q8": { type: "string" },
  },
});

const folder = mkdtempSync(join(tmpdir(), "kakeya-bench-peer-"));
const rounds: { quant: string; load: number; residentMb: number; ours: Figures; peer?: Figures }[] = [];
for (let round = 0; round < Number(values.rounds); round++) {
  for (const quant of values.quants.split(",")) {
    console.error(`round ${round + 1} of ${values.rounds}: ${quant}`);
    const command = quant === "q4" ? values["peer-q4"] : values["peer-q8"];
    const peer = command === undefined ? undefined : peerFigures(command);
    const load = loadavg()[0] ?? 0;
    const { residentMb, ...ours } = await measured(quant);
    rounds.push({ quant, load, residentMb, ours, ...(peer && { peer }) });
  }
}
rmSync(folder, { recursive: true });
const world = { kv: values.kv, cpu: cpus()[0]?.model, cores: cpus().length, threads: Number(values.threads) };
const cases = values.quants.split(",").map(summary);
console.log(
  JSON.stringify({ kind: "bench_peer", model: values.model ?? "kakeya-tiny", ...world, cases, rounds }, null, 2),
);
process.exit(0);

function summary(quant: string): Record<string, unknown> {
  const own = rounds.filter((round) => round.quant === quant);
  const median = (of: (round: (typeof own)[number]) => number) => Number(percentile(own.map(of), 0.5)?.toPrecision(4));
  const byFigure = (of: (round: (typeof own)[number], name: keyof Figures) => number) =>
    Object.fromEntries(figures.map((name) => [name, median((round) => of(round, name))]));
  return {
    quant,
    load_average: median(({ load }) => load),
    ours: byFigure(({ ours }, name) => ours[name]),
    ...(own[0]?.peer && {
      peer: byFigure(({ peer }, name) => peer?.[name] ?? Number.NaN),
      ratio: byFigure(({ ours, peer }, name) => ours[name] / (peer?.[name] ?? Number.NaN)),
    }),
    resident_mb: median(({ residentMb }) => residentMb),
  };
}

async function measured(quant: string): Promise<Figures & { residentMb: number }> {
  const near = await withServer(quant, 64, 8, async (client) => {
    const session = await client.createSession();
    await session.append(await words(client, 128));
    const decode = await decodeRate(session, 120);
    const prefill = [];
    for (let i = 0; i < 5; i++) {
      const ids = await words(client, 256, i);
      const fresh = await client.createSession();
      const startedAt = performance.now();
      await fresh.append(ids);
      prefill.push(256 / ((performance.now() - startedAt) / 1000));
      await fresh.close();
    }
    const residentMb = (await client.runtimeInfo()).residentBytes / 1e6;
    await session.close();
    return {
      decode_tokens_per_s: decode,
      prefill_tokens_per_s: percentile(prefill, 0.5) ?? Number.NaN,
      eight_tokens_per_s: await eightAtOnce(client),
      residentMb,
    };
  });
  const deep = await withServer(quant, 1024, 1, async (client) => {
    const session = await client.createSession();
    await session.append(await words(client, 1100));
    return decodeRate(session, 60);
  });
  return { ...near, deep_tokens_per_s: deep };
}

async function withServer<T>(
  quant: string,
  window: number,
  capacity: number,
  use: (client: Client) => Promise<T>,
): Promise<T> {
  const model = values.model === undefined ? [] : ["--model", values.model];
  const sizes = ["--window", window, "--capacity", capacity, "--threads", values.threads].map(String);
  const flags = ["--quant", quant, "--kv", values.kv, ...sizes];
  await using server = await OwnServer.start({
    kakeya: [process.execPath, resolve(import.meta.dir, "../src/main.ts")],
    flags: [...model, ...flags, "--draft", "off", "--log-level", "warn"],
    logPath: join(folder, "server.log"),
  });
  const client = new Client(server.address);
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

async function words(client: Client, count: number, shift = 0): Promise<number[]> {
  const { vocabSize } = await client.runtimeInfo();
  return Array.from({ length: count }, (_, i) => ((i + shift) * 7919 + 10) % vocabSize);
}

/** Tokens a second, of the median gap between ids once the code is warm. */
async function decodeRate(session: Session, maxTokens: number): Promise<number> {
  const gapsS: number[] = [];
  let last = performance.now();
  for await (const _ of session.generate({ maxTokens })) {
    const now = performance.now();
    gapsS.push((now - last) / 1000);
    last = now;
  }
  return 1 / (percentile(gapsS.slice(10), 0.5) ?? Number.NaN);
}

async function eightAtOnce(client: Client): Promise<number> {
  const sessions = await Promise.all(Array.from({ length: 8 }, () => client.createSession()));
  for (const [i, session] of sessions.entries()) await session.append([i + 10, 11, 12]);
  const startedAt = performance.now();
  const counts = await Promise.all(
    sessions.map(async (session) => (await Array.fromAsync(session.generate({ maxTokens: 40 }))).length),
  );
  const seconds = (performance.now() - startedAt) / 1000;
  await Promise.all(sessions.map((session) => session.close()));
  return counts.reduce((sum, count) => sum + count, 0) / seconds;
}

function peerFigures(command: string): Figures {
  const output = Bun.spawnSync(["sh", "-c", command], { stderr: "inherit" }).stdout.toString();
  const entries = figures.map((name) => {
    const value = Number(new RegExp(`^${name}=([\\d.]+)$`, "m").exec(output)?.[1]);
    if (!(value > 0)) throw new Error(`the peer printed no "${name}=NUMBER": ${output.slice(0, 200)}`);
    return [name, value];
  });
  return Object.fromEntries(entries) as Figures;
}
