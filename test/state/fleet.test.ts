/** Several servers over one database: who may write a session, whatever happens to them and to the database. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import path from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import fc from "fast-check";
import { StateError } from "../../src/state/errors.ts";
import { PostgresStore } from "../../src/state/postgres/postgres-store.ts";
import type { Lease, StateStore } from "../../src/state/store.ts";
import { eventually } from "../eventually.ts";
import { rejection } from "../rejection.ts";
import { describeWithPostgres, Postgres } from "./postgres.ts";
import { idsFrom, newSession, snapshotAt } from "./sessions.ts";

const leaseS = 3600; // Leases run out when a test says so.

let postgres: Postgres;
let url: string;

function join(serverName: string, options: { waitS?: number; leaseS?: number } = {}): Promise<PostgresStore> {
  return PostgresStore.open({ url, serverName, leaseS, waitS: 30, ...options });
}

/** As if the server had not renewed its lease for too long. */
async function expire(store: PostgresStore): Promise<number> {
  const { server } = await store.fleet();
  const at = "clock_timestamp() - interval '1 ms'";
  await postgres.query(`UPDATE kakeya.servers SET expires_at = ${at} WHERE server = ${server}`, databaseOf(url));
  return server;
}

function databaseOf(url: string): string {
  return new URL(url).pathname.slice(1);
}

function step(lease: Lease, position: number, count = 1) {
  return { lease, position, ids: idsFrom(position, count), generated: count };
}

async function taken(store: StateStore, id: string): Promise<Lease> {
  const taken = await store.acquire(id);
  if (taken === undefined) throw new Error(`the session ${id} is gone`);
  return taken.lease;
}

async function* linesOf(output: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  yield* createInterface({ input: Readable.fromWeb(output as never) }); // The types of Bun and of Node.js differ.
}

describeWithPostgres("servers that share a database", () => {
  beforeAll(async () => {
    postgres = await Postgres.start();
  });
  afterAll(() => postgres[Symbol.asyncDispose]());

  test("a session that a live server has is refused, and the error names that server", async () => {
    url = await postgres.database();
    await using a = await join("server A");
    await using b = await join("server B");
    const lease = await a.create(newSession("s"));
    const error = await rejection(b.acquire("s"));
    expect(error).toMatchObject({ kind: "held" });
    expect(error.message).toContain("server A");
    expect(await rejection(b.remove("s"))).toMatchObject({ kind: "held" });
    expect(await b.inactiveSince(Date.now() + 1e9)).toEqual([]);
    expect((await b.find("s"))?.holder).toBe("server A");
    expect((await a.find("s"))?.holder).toBeUndefined();
    await a.commit([step(lease, 0)]);
  });

  test("a session that was given back is anybody's, and who gave it back can't write it any more", async () => {
    url = await postgres.database();
    await using a = await join("A");
    await using b = await join("B");
    const lease = await a.create(newSession("s"));
    await a.commit([step(lease, 0, 10)]);
    await a.release(lease);
    expect(await rejection(a.commit([step(lease, 10)]))).toMatchObject({ kind: "lost-lease" });
    const other = await taken(b, "s");
    await a.release(lease);
    await b.commit([step(other, 10)]);
    expect(await b.ids("s", 0, 11)).toEqual(idsFrom(0, 11));
  });

  test("a server that ends gives all its sessions back", async () => {
    url = await postgres.database();
    const a = await join("A");
    await using b = await join("B");
    for (const id of ["s", "t"]) await a.create(newSession(id));
    await a.close();
    for (const id of ["s", "t"]) {
      const taken = await b.acquire(id);
      expect(taken?.lease.epoch).toBe(2);
      expect(taken?.takenFrom).toBeUndefined();
    }
  });

  test("a server whose lease has run out can't write a single id, even if nobody has taken its sessions", async () => {
    url = await postgres.database();
    await using a = await join("A");
    const lease = await a.create(newSession("s"));
    await a.commit([step(lease, 0, 5)]);
    await expire(a);
    const late = [
      a.commit([step(lease, 5)]),
      a.saveSnapshot(lease, snapshotAt(5)),
      a.restored(lease, 1),
      a.remove("s", { lease }),
    ];
    for (const error of await Promise.all(late.map(rejection))) expect(error).toMatchObject({ kind: "lost-lease" });
    expect(await a.find("s")).toMatchObject({ tokens: 5, replayed: 0 });
    expect(await a.ids("s", 0, 5)).toEqual(idsFrom(0, 5));
    // It registers again, and what it held before stays lost.
    await eventually("another registration", async () => (await a.fleet()).server !== lease.server || undefined);
    expect(await rejection(a.commit([step(lease, 5)]))).toMatchObject({ kind: "lost-lease" });
    await a.commit([step(await taken(a, "s"), 5)]);
    expect(await a.ids("s", 0, 6)).toEqual(idsFrom(0, 6));
  });

  test("a process that was stopped past its lease commits not one id when it goes on", async () => {
    url = await postgres.database();
    const program = [process.execPath, path.join(import.meta.dir, "stopped-server.ts"), url];
    const server = Bun.spawn(program, { stdout: "pipe", stderr: "inherit" });
    const lines = linesOf(server.stdout);
    expect((await lines.next()).value).toBe("committing");
    server.kill("SIGSTOP");
    const expired = "SELECT FROM kakeya.servers WHERE name = 'stopped' AND expires_at < clock_timestamp()";
    await eventually("the lease to run out", async () => (await postgres.query(expired, databaseOf(url)))[0]);
    await using observer = await join("observer");
    const before = await observer.find("s");
    server.kill("SIGCONT");
    const [tokens, why] = String((await lines.next()).value).split(" ");
    await server.exited;
    expect(why).toBe("lost-lease");
    const after = await observer.find("s");
    expect(after?.tokens).toBe(before?.tokens ?? -1);
    // What was on its way when it was stopped may be there, and then it has not been acknowledged.
    expect([0, 1]).toContain((after?.tokens ?? 0) - Number(tokens));
    expect(await observer.ids("s", 0, after?.tokens ?? 0)).toEqual(idsFrom(0, after?.tokens ?? 0));
  }, 120_000);

  test("the session of a dead server is taken with all that was committed, and says from whom", async () => {
    url = await postgres.database();
    await using a = await join("A");
    await using b = await join("B");
    const lease = await a.create(newSession("s"));
    await a.commit([step(lease, 0, 1500)]);
    await a.saveSnapshot(lease, snapshotAt(1200));
    await expire(a);
    const taken = await b.acquire("s");
    expect(taken).toMatchObject({ takenFrom: "A", session: { tokens: 1500 } });
    expect(await b.ids("s", 0, 1500)).toEqual(idsFrom(0, 1500));
    expect(await rejection(a.commit([step(lease, 1500)]))).toMatchObject({ kind: "lost-lease" });
  });

  test("who wants a session is heard by the server that has it, until that has given it back", async () => {
    url = await postgres.database();
    await using a = await join("A");
    await using b = await join("B");
    const lease = await a.create(newSession("s"));
    await b.want("s");
    const wanted = await eventually("the wish", async () => {
      const { wanted } = await a.fleet();
      return wanted.length > 0 ? wanted : undefined;
    });
    expect(wanted).toEqual([lease]);
    await a.release(lease);
    await eventually("the wish to be gone", async () => (await a.fleet()).wanted.length === 0 || undefined);
    expect(await b.acquire("s")).toBeDefined();
  });

  test("three servers that begin with an empty database at the same time make its tables once", async () => {
    url = await postgres.database();
    const stores = await Promise.all(["A", "B", "C"].map((name) => join(name)));
    expect(new Set(await Promise.all(stores.map(async (store) => (await store.fleet()).server))).size).toBe(3);
    for (const store of stores) await store.close();
  });

  test("a database of a later kakeya is refused, and left as it is", async () => {
    url = await postgres.database();
    await (await join("A")).close();
    await postgres.query("UPDATE kakeya.version SET version = 99", databaseOf(url));
    const error = await rejection(join("B"));
    expect(error).toMatchObject({ kind: "newer" });
    expect(error.message).toContain("version 99");
    const [row] = await postgres.query("SELECT version FROM kakeya.version", databaseOf(url));
    expect(row?.version).toBe(99);
  });

  test("a database whose commits may be lost in a crash is refused", async () => {
    url = await postgres.database();
    await postgres.query(`ALTER DATABASE ${databaseOf(url)} SET synchronous_commit = off`);
    const error = await rejection(join("A"));
    expect(error).toMatchObject({ kind: "unusable" });
    expect(error.message).toContain("synchronous_commit");
  });

  test("whatever servers do at the same time, no id is lost and none is there twice", async () => {
    const action = fc.record({
      by: fc.nat(2),
      session: fc.constantFrom("s", "t"),
      kind: fc.constantFrom("take", "take", "commit", "commit", "commit", "release", "expire", "snapshot"),
      count: fc.oneof(fc.integer({ min: 1, max: 3 }), fc.constant(1001)),
    });
    const atOnce = fc.array(action, { minLength: 1, maxLength: 5 });
    const outcomes = { commits: 0, refusals: 0, takeovers: 0 };
    url = await postgres.database();
    await fc.assert(
      fc.asyncProperty(fc.array(atOnce, { maxLength: 12 }), async (rounds) => {
        const stores = await Promise.all(["A", "B", "C"].map((name) => join(name)));
        const prefix = crypto.randomUUID();
        /** What each server believes of each session: it may be wrong. */
        const beliefs = stores.map(() => new Map<string, { lease: Lease; tokens: number }>());
        const acknowledged = new Map<string, { position: number; ids: Uint32Array }[]>();
        for (const id of ["s", "t"]) {
          const [store] = stores;
          const lease = await store?.create(newSession(prefix + id));
          if (lease) beliefs[0]?.set(id, { lease, tokens: 0 });
          acknowledged.set(id, []);
        }
        let nextId = 1;
        /** Leases that were void when the round began, and those that have become so since. */
        let voidBefore = (_: Lease) => false;
        const newest = new Map<string, number>();
        const over = new Set<number | string>();
        const isVoid = ({ id, epoch, server }: Lease) =>
          epoch < (newest.get(id) ?? 0) || over.has(server ?? 0) || over.has(`${id} ${epoch}`);
        const perform = async ({
          by,
          session,
          kind,
          count,
        }: typeof action extends fc.Arbitrary<infer A> ? A : never) => {
          const [store, belief] = [stores[by], beliefs[by]?.get(session)];
          if (store === undefined) return;
          if (kind === "expire") {
            over.add(await expire(store));
            return;
          }
          if (kind === "take") {
            const taken = await store.acquire(prefix + session);
            if (taken?.takenFrom !== undefined) outcomes.takeovers++;
            if (taken === undefined) throw new Error("the session is gone");
            beliefs[by]?.set(session, { lease: taken.lease, tokens: taken.session.tokens });
            newest.set(taken.lease.id, Math.max(newest.get(taken.lease.id) ?? 0, taken.lease.epoch));
            return;
          }
          if (belief === undefined) return;
          const wasVoid = voidBefore(belief.lease);
          if (kind === "release") {
            await store.release(belief.lease);
            over.add(`${belief.lease.id} ${belief.lease.epoch}`);
            return;
          }
          if (kind === "snapshot") return await store.saveSnapshot(belief.lease, snapshotAt(belief.tokens));
          const ids = Uint32Array.from({ length: count }, () => nextId++);
          const position = belief.tokens;
          await store.commit([{ lease: belief.lease, position, ids, generated: 0 }]);
          expect(wasVoid).toBe(false);
          outcomes.commits++;
          acknowledged.get(session)?.push({ position, ids });
          if (beliefs[by]?.get(session) === belief) belief.tokens += count;
        };
        for (const round of rounds) {
          const voided = new Set(beliefs.flatMap((of) => [...of.values()].map(({ lease }) => lease)).filter(isVoid));
          voidBefore = (lease) => voided.has(lease);
          await Promise.all(
            round.map((action) =>
              perform(action).catch((error: unknown) => {
                const isRefusal =
                  error instanceof StateError && ["held", "lost-lease", "out-of-order"].includes(error.kind);
                if (!isRefusal) throw error;
                outcomes.refusals++;
              }),
            ),
          );
        }
        for (const [id, parts] of acknowledged) {
          const [reader] = stores;
          const tokens = (await reader?.find(prefix + id))?.tokens ?? -1;
          const inOrder = parts.sort((a, b) => a.position - b.position).flatMap(({ ids }) => [...ids]);
          expect(Array.from((await reader?.ids(prefix + id, 0, tokens)) ?? [])).toEqual(inOrder);
        }
        for (const store of stores) await store.close();
      }),
      { numRuns: 30 },
    );
    expect(outcomes.commits).toBeGreaterThan(0);
    expect(outcomes.refusals).toBeGreaterThan(0);
    expect(outcomes.takeovers).toBeGreaterThan(0);
  }, 300_000);
});
