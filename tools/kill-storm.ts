/**
 * A thousand clients in a row that go away in the middle of a stream: a third cancel, a third run into a deadline, and a
 * third are processes killed with SIGKILL. After each, another connection must find the session usable at once, its
 * history as GetSessionInfo says, and generation stopped. Prints JSON; exit code 1 when anything was lost.
 *
 *     bun tools/kill-storm.ts [--times 1000] > results/measurements/kill-storm.json
 */

import { mkdtempSync, rmSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Client, type Session } from "../src/client/index.ts";
import { OwnServer } from "../src/connection/own-server.ts";
import { percentile } from "../src/report/stats.ts";

const { values } = parseArgs({ options: { times: { type: "string", default: "1000" }, child: { type: "string" } } });
if (values.child !== undefined) await streamUntilKilled(values.child);

const times = Number(values.times);
const ways = ["cancel", "deadline", "sigkill"] as const;
const folder = mkdtempSync(join(tmpdir(), "kakeya-kill-storm-"));
const startedAt = new Date();
const loadAtStart = loadavg();
const server = await OwnServer.start({
  kakeya: [process.execPath, resolve(import.meta.dir, "../src/main.ts")],
  flags: ["--log-level", "warn"],
  logPath: join(folder, "server.log"),
});

const faults: string[] = [];
const resident: number[] = [];
const done: Record<(typeof ways)[number], number> = { cancel: 0, deadline: 0, sigkill: 0 };
using client = new Client(server.address);
const info = await client.runtimeInfo();
for (let i = 0; i < times; i++) {
  const way = ways[i % ways.length] ?? "cancel";
  const session = await client.createSession();
  await session.append([1, 2, 3]);
  if (way === "sigkill") await killProcess(session);
  else await leaveStream(session, way === "cancel" ? leaveAfterThird() : { signal: AbortSignal.timeout(30) });
  await check(session, `${way} ${i}`);
  await session.close();
  done[way]++;
  if (i % 10 === 9) resident.push((await client.runtimeInfo()).residentBytes);
}
const sessions = await Promise.all(Array.from({ length: info.sessionCapacity }, () => client.createSession()));
const allSlabsFree = (await Promise.all(sessions.map((session) => session.append([1])))).every(
  (length) => length === 1,
);
await server.stop();
const serverLog = await Bun.file(join(folder, "server.log")).text();
rmSync(folder, { recursive: true });

const tenth = Math.max(1, Math.floor(resident.length / 10));
console.log(
  JSON.stringify(
    {
      kind: "kill_storm",
      startedAt: startedAt.toISOString(),
      finishedAt: new Date().toISOString(),
      cpu: cpus()[0]?.model,
      cores: cpus().length,
      loadAtStart,
      loadAtEnd: loadavg(),
      done,
      faults,
      allSlabsFree,
      residentBytes: {
        afterATenth: percentile(resident.slice(tenth, 2 * tenth), 0.5),
        atTheEnd: percentile(resident.slice(-tenth), 0.5),
        all: resident,
      },
      serverLog,
    },
    null,
    2,
  ),
);
process.exit(faults.length === 0 && allSlabsFree ? 0 : 1);

/** In a process of its own: streams, tells its parent of the third id, and is killed. */
async function streamUntilKilled(target: string): Promise<void> {
  const [address = "", sessionId = ""] = target.split(" ");
  let ids = 0;
  for await (const _id of new Client(address).session(sessionId).generate({ maxTokens: 100_000 })) {
    if (++ids === 3) console.log("streaming");
  }
}

async function killProcess(session: Session): Promise<void> {
  const target = `${server.address} ${session.id}`;
  const child = Bun.spawn([process.execPath, import.meta.path, "--child", target], {
    stdout: "pipe",
    stderr: "inherit",
  });
  await child.stdout.getReader().read();
  child.kill("SIGKILL");
  await child.exited;
}

interface Leaving {
  signal: AbortSignal;
  /** Called with the number of ids that have come. */
  onId?: (ids: number) => void;
}

function leaveAfterThird(): Leaving {
  const abort = new AbortController();
  return {
    signal: abort.signal,
    onId: (ids) => {
      if (ids === 3) abort.abort();
    },
  };
}

async function leaveStream(session: Session, { signal, onId }: Leaving): Promise<void> {
  let ids = 0;
  try {
    for await (const _id of session.generate({ maxTokens: 100_000, signal })) onId?.(++ids);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Through another connection: the session answers, counts what it says, and goes on from there. */
async function check(session: Session, name: string): Promise<void> {
  using other = new Client(server.address);
  const again = other.session(session.id);
  const before = await again.info();
  if (before.computedTokens !== before.historyTokens)
    faults.push(`${name}: computed ${before.computedTokens} of ${before.historyTokens}`);
  if (before.historyTokens !== 3 + before.generatedTokens)
    faults.push(`${name}: history ${before.historyTokens}, generated ${before.generatedTokens}`);
  const length = await again.append([5]);
  if (length !== before.historyTokens + 1)
    faults.push(`${name}: ${length} tokens after one more than ${before.historyTokens}`);
}
