/** Sessions that wander between servers, asked for, drained or taken from dead ones: the same ids as without all that. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { type Engine, greedy } from "../../src/engine/engine.ts";
import type { GenerateOptions } from "../../src/session/session.ts";
import { newSessionId } from "../../src/session/session-id.ts";
import { type SessionEvents, SessionStore } from "../../src/session/store.ts";
import { PostgresStore } from "../../src/state/postgres/postgres-store.ts";
import { eventually } from "../eventually.ts";
import { rejection } from "../rejection.ts";
import { testEngine } from "../serve/serving.ts";
import { describeWithPostgres, Postgres } from "../state/postgres.ts";

const capacity = 12;
let postgres: Postgres;
let url: string;
let engine: Engine;
/** What all servers have told. */
const told = { parked: 0, restored: 0, tookOver: 0, lostLeases: 0 };

const events: SessionEvents = {
  created: () => {},
  evicted: () => {},
  violated: (_, violation) => {
    throw new Error(violation.message);
  },
  guessed: () => {},
  ended: () => {},
  parked: () => told.parked++,
  restored: () => told.restored++,
  tookOver: () => told.tookOver++,
  lostLease: () => told.lostLeases++,
  warned: () => {},
};

interface Server {
  store: SessionStore;
  state: PostgresStore;
  /** As SIGTERM does: parks everything, gives it back. */
  stop(): Promise<void>;
  /** As SIGKILL does, and its lease runs out. */
  kill(): Promise<void>;
}

function storeOn(state?: PostgresStore, handOverWaitS = 60): SessionStore {
  const common = { ttlS: 0, evictAfterS: 0, maxWaitingCalls: 4, now: () => performance.now() / 1000 };
  const parking = state && { parking: { state, rebuild: false, nowMs: Date.now, handOverWaitS } };
  return new SessionStore(engine, { ...common, newId: newSessionId, events, ...parking });
}

async function started(serverName: string, handOverWaitS?: number): Promise<Server> {
  const state = await PostgresStore.open({ url, serverName, leaseS: 3600, waitS: 60 });
  const store = storeOn(state, handOverWaitS);
  const handingOver = setInterval(() => void store.handOver(), 20);
  return {
    store,
    state,
    async stop() {
      clearInterval(handingOver);
      await store.endAll();
      await state.close();
    },
    async kill() {
      clearInterval(handingOver);
      await expire(state);
      for (const { sequence } of [...store.sessions]) await engine.free(sequence);
    },
  };
}

async function expire(state: PostgresStore): Promise<void> {
  const { server } = await state.fleet();
  const at = "clock_timestamp() - interval '1 ms'";
  const database = new URL(url).pathname.slice(1);
  await postgres.query(`UPDATE kakeya.servers SET expires_at = ${at} WHERE server = ${server}`, database);
}

async function generated(store: SessionStore, id: string, options: Partial<GenerateOptions> = {}): Promise<number[]> {
  const ids: number[] = [];
  for await (const event of store.generate(id, { maxTokens: 5, sampling: greedy, ...options })) {
    if (event.kind === "token") ids.push(event.tokenId);
  }
  return ids;
}

const prompt = (length: number) => Uint32Array.from({ length }, (_, i) => (i * 7 + length) % 500);

describeWithPostgres("sessions that several servers share", () => {
  beforeAll(async () => {
    [postgres, engine] = await Promise.all([Postgres.start(), testEngine({ capacity })]);
  });
  afterAll(async () => {
    await engine.close();
    await postgres[Symbol.asyncDispose]();
  });

  test("wherever its calls go and whichever server dies, a session says what it would have said alone", async () => {
    url = await postgres.database();
    const event = fc.record({
      at: fc.nat(2),
      kind: fc.constantFrom("generate", "generate", "append", "stop", "kill", "expire"),
      tokens: fc.integer({ min: 1, max: 40 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 3, maxLength: 10 }), async (history) => {
        const alone = storeOn();
        const servers = await Promise.all(["A", "B", "C"].map((name) => started(name)));
        const [first] = servers;
        if (first === undefined) throw new Error("no server");
        const { id } = await first.store.create([], "");
        const own = await alone.create([], "");
        for (const [place, tokens] of [
          [first.store, id],
          [alone, own.id],
        ] as const)
          await place.append(tokens, prompt(70));
        for (const { at, kind, tokens } of history) {
          const server = servers[at] ?? first;
          if (kind === "generate") {
            // Whose lease was lost without its knowing tells its client to try again.
            const said = await generated(server.store, id, { maxTokens: tokens }).catch((error: unknown) => {
              expect(error).toMatchObject({ kind: "unavailable" });
              return generated(server.store, id, { maxTokens: tokens });
            });
            expect(said).toEqual(await generated(alone, own.id, { maxTokens: tokens }));
          } else if (kind === "append") {
            await server.store.append(id, prompt(tokens)).catch((error: unknown) => {
              expect(error).toMatchObject({ kind: "unavailable" });
              return server.store.append(id, prompt(tokens));
            });
            await alone.append(own.id, prompt(tokens));
          } else if (kind === "expire") {
            await expire(server.state);
          } else {
            await server[kind]();
            servers[at] = await started(`${at} again`);
          }
        }
        const { historyTokens, generatedTokens, lastTokenId } = await first.store
          .info(id)
          .catch(() => alone.info(own.id));
        expect(await alone.info(own.id)).toMatchObject({ historyTokens, generatedTokens, lastTokenId });
        for (const server of servers) await server.stop();
        await alone.endAll();
      }),
      { numRuns: 12 },
    );
    for (const count of [told.parked, told.restored, told.tookOver]) expect(count).toBeGreaterThan(0);
  }, 300_000);

  test("a session with a call in flight stays where it is; others are told who has it, and have it afterwards", async () => {
    url = await postgres.database();
    const [a, b] = await Promise.all([started("server A"), started("server B", 0)]);
    const { id } = await a.store.create([], "");
    await a.store.append(id, prompt(8));
    const reading = a.store.generate(id, { maxTokens: 3, sampling: greedy, ahead: 0 });
    expect((await reading.next()).value).toMatchObject({ kind: "token" });
    const error = await rejection(b.store.append(id, prompt(3)));
    expect(error).toMatchObject({ kind: "unavailable" });
    expect(error.message).toContain("server A");
    for await (const _ of reading);
    const tokens = await eventually("the session to be handed over", () =>
      b.store.append(id, prompt(3)).catch(() => undefined),
    );
    expect(tokens).toBe(14);
    await a.stop();
    await b.stop();
  }, 60_000);

  test("a server whose lease ran out forgets its idle sessions, and removes none", async () => {
    url = await postgres.database();
    const [a, b] = await Promise.all([started("A"), started("B")]);
    const { id } = await a.store.create([], "");
    await a.store.append(id, prompt(8));
    const lostBefore = told.lostLeases;
    await expire(a.state);
    expect(await b.store.append(id, prompt(2))).toBe(10);
    await eventually("A to forget it", () => (a.store.activeCount === 0 ? true : undefined));
    expect(told.lostLeases).toBe(lostBefore + 1);
    expect(await b.store.append(id, prompt(2))).toBe(12);
    await a.stop();
    await b.stop();
  }, 60_000);
});
