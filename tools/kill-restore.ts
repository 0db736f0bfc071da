/**
 * A server with a state folder is killed with SIGKILL again and again, at random moments, while eight sessions append and
 * generate on four places. After each start every session must be there with at least what its client had been told, and
 * goes on where it was. In the end all histories, as clients saw them and as the journal has them, must be those of a run
 * that nothing interrupted, computed by another engine in this process. Prints JSON; exit code 1 for any fault.
 *
 *     bun tools/kill-restore.ts [--times 200] [--model DIR] [--longest-ms 1500] [--seed 1]
 */

import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Client, KakeyaError } from "../src/client/index.ts";
import { OwnServer } from "../src/connection/own-server.ts";
import { openEngine } from "../src/engine/open.ts";
import { percentile } from "../src/report/stats.ts";
import { SqliteStore } from "../src/state/sqlite-store.ts";
import { seededRandom } from "../test/seeded-random.ts";

const { values } = parseArgs({
  options: {
    times: { type: "string", default: "200" },
    model: { type: "string" },
    window: { type: "string", default: "64" },
    "longest-ms": { type: "string", default: "1500" },
    seed: { type: "string", default: "1" },
  },
});
const times = Number(values.times);
const clients = 8;
const sampling = { temperature: 0.8, topK: 50, topP: 0.95 };
const random = seededRandom(Number(values.seed));
const folder = mkdtempSync(join(tmpdir(), "kakeya-kill-restore-"));
const dir = join(folder, "state");
const startedAt = new Date();
const loadAtStart = loadavg();

/** What a client does in each of its turns; only its number and the turn's decide. */
function turnOf(client: number, turn: number): { prompt: number[]; maxTokens: number } {
  const draw = seededRandom(client * 1_000_003 + turn);
  const prompt = Array.from({ length: 1 + Math.floor(draw() * 60) }, () => Math.floor(draw() * 256));
  return { prompt, maxTokens: 1 + Math.floor(draw() * 40) };
}

/** A client: it knows what it was told, and finds out after a kill how far its session has come. */
interface Walker {
  index: number;
  id: string;
  turn: number;
  /** The history as the plan and what was told make it; undefined where an id was generated and never seen. */
  history: (number | undefined)[];
  /** Length of the history once the turn's prompt, and all of the turn, are part of it. */
  afterPrompt: number;
  afterTurn: number;
}

const faults: string[] = [];
const startMs: number[] = [];
const firstCallMs: number[] = [];
let killsUnderLoad = 0;
let finishing = false;

async function started(): Promise<OwnServer> {
  const begunAt = performance.now();
  const server = await OwnServer.start({
    kakeya: [process.execPath, resolve(import.meta.dir, "../src/main.ts")],
    flags: [
      ...["--state", dir, "--capacity", "4", "--sink", "4", "--window", values.window, "--log-level", "warn"],
      ...(values.model === undefined ? [] : ["--model", values.model]),
    ],
    logPath: join(folder, "server.log"),
  });
  startMs.push(performance.now() - begunAt);
  return server;
}

/** Walks on until the server dies, or the run is finishing and the turn is over. */
async function walk(client: Client, walker: Walker): Promise<void> {
  const session = client.session(walker.id);
  for (;;) {
    const { length } = walker.history;
    if (length === walker.afterTurn) {
      if (finishing) return;
      const { prompt, maxTokens } = turnOf(walker.index, ++walker.turn);
      walker.afterPrompt = length + prompt.length;
      walker.afterTurn = walker.afterPrompt + maxTokens;
    } else if (length < walker.afterPrompt) {
      const { prompt } = turnOf(walker.index, walker.turn);
      const told = await session.append(prompt);
      if (told !== walker.afterPrompt)
        faults.push(`${name(walker)}: ${told} tokens after the prompt, not ${walker.afterPrompt}`);
      walker.history.push(...prompt);
    } else {
      const generation = { ...sampling, seed: BigInt(walker.index), maxTokens: walker.afterTurn - length };
      for await (const id of session.generate(generation)) walker.history.push(id);
    }
  }
}

/** After a start: the session is there, with all that its client was told, and whole calls alone. */
async function found(client: Client, walker: Walker): Promise<void> {
  const askedAt = performance.now();
  const { historyTokens, computedTokens, parked } = await client.session(walker.id).info();
  const told = walker.history.length;
  if (!parked) faults.push(`${name(walker)}: in memory before its first call`);
  if (historyTokens < told) faults.push(`${name(walker)}: ${historyTokens} tokens, and its client was told ${told}`);
  if (computedTokens !== historyTokens) faults.push(`${name(walker)}: computed ${computedTokens} of ${historyTokens}`);
  if (told < walker.afterPrompt && historyTokens > told) {
    // The append was in flight: it is part of the history as a whole, or not at all.
    if (historyTokens !== walker.afterPrompt)
      faults.push(`${name(walker)}: half an append, ${told} to ${historyTokens}`);
    walker.history.push(...turnOf(walker.index, walker.turn).prompt);
  }
  while (walker.history.length < historyTokens) walker.history.push(undefined);
  if (historyTokens > walker.afterTurn) faults.push(`${name(walker)}: ${historyTokens} tokens, beyond its turn's end`);
  firstCallMs.push(performance.now() - askedAt);
}

function name(walker: Walker): string {
  return `client ${walker.index}, turn ${walker.turn}, start ${startMs.length}`;
}

/** The history that the same turns lead to when nothing interrupts them. */
async function uninterrupted(turns: readonly number[]): Promise<number[][]> {
  const engine = await openEngine({
    quantization: "q8",
    sink: 4,
    window: Number(values.window),
    capacity: 1,
    ...(values.model === undefined ? {} : { model: values.model }),
  });
  const histories: number[][] = [];
  for (const [index, last] of turns.entries()) {
    const sequence = await engine.create();
    const history: number[] = [];
    for (let turn = 1; turn <= last; turn++) {
      const { prompt, maxTokens } = turnOf(index, turn);
      await engine.append(sequence, Uint32Array.from(prompt));
      history.push(...prompt);
      const request = { sampling: { ...sampling, seed: BigInt(index) }, maxTokens, eosTokenIds: [] };
      const generation = engine.generate(sequence, request, ({ tokenIds }) => history.push(...tokenIds));
      generation.allow(maxTokens);
      await generation.ended;
    }
    histories.push(history);
    await engine.free(sequence);
  }
  await engine.close();
  return histories;
}

let server = await started();
const walkers: Walker[] = [];
{
  using client = new Client(server.address, { retryS: 0 });
  for (let index = 0; index < clients; index++) {
    const { id } = await client.createSession({ label: `walker ${index}` });
    walkers.push({ index, id, turn: 0, history: [], afterPrompt: 0, afterTurn: 0 });
  }
}
for (let kill = 0; kill <= times; kill++) {
  using client = new Client(server.address, { retryS: 0 });
  if (kill > 0) for (const walker of walkers) await found(client, walker);
  finishing = kill === times;
  let dead = false;
  const walks = walkers.map((walker) =>
    walk(client, walker).catch((error: unknown) => {
      if (!(error instanceof KakeyaError) || !dead) faults.push(`${name(walker)}: ${String(error)}`);
    }),
  );
  if (finishing) {
    await Promise.all(walks);
    break;
  }
  await Bun.sleep(random() * Number(values["longest-ms"]));
  killsUnderLoad++;
  dead = true;
  await server.kill();
  await Promise.all(walks);
  server = await started();
}
const infos = [];
{
  using client = new Client(server.address, { retryS: 0 });
  for (const { id } of walkers) infos.push(await client.session(id).info());
}
await server.stop();

const expected = await uninterrupted(walkers.map(({ turn }) => turn));
const unseen = { ids: 0 };
{
  await using state = await SqliteStore.toRead(dir);
  for (const walker of walkers) {
    const whole = expected[walker.index] ?? [];
    const kept = await state.ids(walker.id, 0, walker.history.length);
    if (whole.length !== walker.history.length)
      faults.push(`${name(walker)}: ${walker.history.length} of ${whole.length} ids`);
    for (const [position, id] of whole.entries()) {
      const seen = walker.history[position];
      if (seen === undefined) unseen.ids++;
      else if (seen !== id) faults.push(`${name(walker)}: its client was told ${seen} at ${position}, not ${id}`);
      if (kept[position] !== id)
        faults.push(`${name(walker)}: the journal has ${kept[position]} at ${position}, not ${id}`);
    }
  }
}
const left = readdirSync(folder).sort();
if (left.join() !== "server.log,state") faults.push(`left behind: ${left.join(", ")}`);
const files = readdirSync(dir, { recursive: true, encoding: "utf8" }).filter(
  (file) => !/^(journal\.db|lock|snapshots(\/\d+\.[ab])?)$/.test(file),
);
if (files.length > 0) faults.push(`left behind in the state folder: ${files.join(", ")}`);
const serverLog = await Bun.file(join(folder, "server.log")).text();
rmSync(folder, { recursive: true });

const spread = (all: readonly number[]) => ({
  p50: Math.round(percentile(all, 0.5) ?? Number.NaN),
  p95: Math.round(percentile(all, 0.95) ?? Number.NaN),
  max: Math.round(percentile(all, 1) ?? Number.NaN),
});
const sum = (of: (walker: Walker) => number) => walkers.reduce((total, walker) => total + of(walker), 0);
console.log(
  JSON.stringify(
    {
      kind: "kill_restore",
      command: `bun tools/kill-restore.ts ${process.argv.slice(2).join(" ")}`.trim(),
      startedAt: startedAt.toISOString(),
      finishedAt: new Date().toISOString(),
      cpu: cpus()[0]?.model,
      cores: cpus().length,
      loadAtStart,
      loadAtEnd: loadavg(),
      model: values.model === undefined ? "kakeya-tiny" : "a directory",
      kills: killsUnderLoad,
      sessions: clients,
      capacity: 4,
      turns: sum(({ turn }) => turn),
      historyTokens: sum(({ history }) => history.length),
      generatedAndNeverSeen: unseen.ids,
      replayedTokens: infos.reduce((total, { replayedTokens }) => total + replayedTokens, 0),
      startMs: spread(startMs),
      infoMs: spread(firstCallMs),
      faults,
      serverLog,
    },
    null,
    2,
  ),
);
process.exit(faults.length === 0 ? 0 : 1);
