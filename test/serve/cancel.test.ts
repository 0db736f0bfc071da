import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { Cancelled, type Client, KakeyaError, type Session } from "../../src/client/index.ts";
import { eventually } from "../eventually.ts";
import { rejection } from "../rejection.ts";
import { type Serving, serving } from "./serving.ts";

let server: Serving;
let client: Client;
beforeAll(async () => {
  server = await serving({ capacity: 4 });
  client = server.connect();
});
afterAll(() => server[Symbol.asyncDispose]());

/** The session answers another connection at once, and says itself how long its history is. */
async function expectUsable(id: string, atLeast: number): Promise<void> {
  const other = server.connect();
  const session = other.session(id);
  const before = await session.info();
  expect(before.historyTokens).toBeGreaterThanOrEqual(atLeast);
  expect(await session.append([1])).toBe(before.historyTokens + 1);
  other.close();
}

async function expectNoPlaceLost(): Promise<void> {
  for (const { id } of [...server.server.store.sessions]) await client.session(id).close();
  const { capacity } = server.engine.info;
  const sequences = await Promise.all(Array.from({ length: capacity }, () => server.engine.create()));
  for (const sequence of sequences) await server.engine.free(sequence);
}

async function ready(): Promise<Session> {
  const session = await client.createSession();
  await session.append([1, 2, 3]);
  return session;
}

test("aborting a generation stops it within one step of the last id that arrived", async () => {
  const session = await ready();
  const abort = new AbortController();
  let arrived = 0;
  const error = await rejection(
    (async () => {
      for await (const _ of session.generate({ maxTokens: 100_000, signal: abort.signal })) {
        if (++arrived === 10) abort.abort();
      }
    })(),
  );
  expect(error).toBeInstanceOf(Cancelled);
  const { historyTokens, generatedTokens, computedTokens } = await session.info();
  expect(historyTokens).toBe(3 + generatedTokens);
  expect(computedTokens).toBe(historyTokens);
  // A generation that went on would have had its share of these steps.
  await Array.fromAsync((await ready()).generate({ maxTokens: 20 }));
  expect((await session.info()).historyTokens).toBe(historyTokens);
  await expectUsable(session.id, 13);
});

test("a deadline in the middle of a stream leaves the session usable", async () => {
  const session = await ready();
  const error = await rejection(
    Array.fromAsync(session.generate({ maxTokens: 100_000, signal: AbortSignal.timeout(30) })),
  );
  expect(error).toBeInstanceOf(Cancelled);
  await expectUsable(session.id, 3);
});

test("a connection cut in the middle of a stream leaves the session usable", async () => {
  const session = await ready();
  const doomed = server.connect();
  const stream = doomed.session(session.id).generate({ maxTokens: 100_000 });
  await stream.next();
  doomed.close();
  expect(await rejection(stream.next())).toBeInstanceOf(Cancelled);
  await expectUsable(session.id, 4);
});

test("a client killed in the middle of a stream leaves the session usable", async () => {
  const session = await ready();
  const script = join(import.meta.dir, "killed-client.ts");
  const child = Bun.spawn([process.execPath, script, server.address, session.id], { stdout: "pipe" });
  await child.stdout.getReader().read();
  child.kill("SIGKILL");
  await child.exited;
  await expectUsable(session.id, 4);
}, 20_000);

test("calls that wait for a session leave its queue when they are cancelled", async () => {
  const session = await ready();
  const stream = session.generate({ maxTokens: 100_000 });
  await stream.next();
  const abort = new AbortController();
  const waiting = rejection(session.append([1, 2, 3], { signal: abort.signal }));
  await eventually("a call that waits", () => server.server.store.queueDepth > 0 || undefined);
  abort.abort();
  expect(await waiting).toBeInstanceOf(Cancelled);
  await stream.return();
  const { historyTokens, generatedTokens } = await session.info();
  expect(historyTokens).toBe(3 + generatedTokens);
});

test("a thousand cancelled, timed-out and cut-off streams lose no place and grow no memory", async () => {
  await Promise.all([...server.server.store.sessions].map(({ id }) => client.session(id).close()));
  const sessions = [await ready(), await ready(), await ready()] as const;
  const storm = async (count: number) => {
    for (let i = 0; i < count; i++) {
      const { id } = sessions[i % sessions.length] ?? sessions[0];
      const cut = i % 50 === 0 ? server.connect() : undefined;
      const abort = new AbortController();
      const stream = (cut ?? client).session(id).generate({ maxTokens: 100_000, signal: abort.signal });
      try {
        for (let ids = i % 4; ids >= 0; ids--) await stream.next();
        if (cut !== undefined) cut.close();
        else if (i % 3 === 0) await stream.return();
        else abort.abort();
        await stream.next();
      } catch (error) {
        if (!(error instanceof KakeyaError)) throw error;
      }
    }
  };
  await storm(200);
  Bun.gc(true);
  const before = process.memoryUsage().heapUsed;
  await storm(1000);
  Bun.gc(true);
  const grownBytes = process.memoryUsage().heapUsed - before;
  for (const session of sessions) await expectUsable(session.id, 3);
  expect(server.server.store.activeCount).toBe(3);
  await expectNoPlaceLost();
  expect(grownBytes).toBeLessThan(8 * 2 ** 20);
}, 60_000);
