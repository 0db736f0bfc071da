/** A database that goes away in the middle: what was acknowledged is there, and nothing is there twice. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { PostgresStore } from "../../src/state/postgres/postgres-store.ts";
import { rejection } from "../rejection.ts";
import { CuttingProxy } from "./cutting-proxy.ts";
import { describeWithPostgres, Postgres } from "./postgres.ts";
import { facts, idsFrom, newSession, snapshotAt } from "./sessions.ts";

let postgres: Postgres;

const open = (url: string, options: { waitS?: number; answerS?: number } = {}) =>
  PostgresStore.open({ url, leaseS: 3600, waitS: 300, ...options });

describeWithPostgres("a database that goes away", () => {
  beforeAll(async () => {
    postgres = await Postgres.start();
  });
  afterAll(() => postgres[Symbol.asyncDispose]());

  test("whenever the connection breaks in a step, its ids are there once", async () => {
    await using proxy = await new CuttingProxy(postgres.socket).listen();
    const database = new URL(await postgres.database()).pathname.slice(1);
    const cut = fc.constantFrom("before" as const, "after" as const);
    let cuts = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(cut, { maxLength: 3 }), { minLength: 1, maxLength: 6 }), async (steps) => {
        await using store = await open(proxy.url(database));
        const [s, t] = [crypto.randomUUID(), crypto.randomUUID()];
        const leases = [await store.create(newSession(s)), await store.create(newSession(t))];
        for (const [position, ofStep] of steps.entries()) {
          proxy.cut(...ofStep);
          cuts += ofStep.length;
          await store.commit(leases.map((lease) => ({ lease, position, ids: idsFrom(position, 1), generated: 1 })));
        }
        for (const id of [s, t]) {
          expect(await store.find(id)).toMatchObject({ tokens: steps.length, generated: steps.length });
          expect(await store.ids(id, 0, steps.length)).toEqual(idsFrom(0, steps.length));
        }
      }),
      { numRuns: 15 },
    );
    expect(proxy.cuts).toBe(cuts);
    expect(cuts).toBeGreaterThan(0);
  }, 300_000);

  test("a database that neither answers nor hangs up is asked again over another connection", async () => {
    await using proxy = await new CuttingProxy(postgres.socket).listen();
    const database = new URL(await postgres.database()).pathname.slice(1);
    await using store = await open(proxy.url(database), { answerS: 1 });
    const lease = await store.create(newSession("s"));
    proxy.cut("silent");
    await store.commit([{ lease, position: 0, ids: idsFrom(0, 3), generated: 0 }]);
    expect(await store.ids("s", 0, 3)).toEqual(idsFrom(0, 3));
  }, 120_000);

  test("whatever loses its connection while it commits is done once", async () => {
    await using proxy = await new CuttingProxy(postgres.socket, "COMMIT").listen();
    const database = new URL(await postgres.database()).pathname.slice(1);
    await using store = await open(proxy.url(database));
    const lease = await store.create(newSession("s"));
    await store.commit([{ lease, position: 0, ids: idsFrom(0, 1010), generated: 0 }]);
    const cut = () => proxy.cut("before", "after", "after");
    cut();
    await store.fork("s", 7, { id: "fork", label: "", eosTokenIds: [] });
    expect(await store.ids("fork", 0, 7)).toEqual(idsFrom(0, 7));
    cut();
    await store.restored(lease, 5);
    expect((await store.find("s"))?.replayed).toBe(5);
    for (const position of [500, 1000]) {
      cut();
      await store.saveSnapshot(lease, snapshotAt(position));
    }
    expect((await store.loadSnapshot("s", facts, 999)).snapshot?.position).toBe(500);
    expect((await store.find("s"))?.snapshotBytes).toBe(200);
    cut();
    const session = await store.find("s");
    if (session === undefined) throw new Error("the session is gone");
    await store.adopt({ ...session, id: "import" }, idsFrom(0, 1010), snapshotAt(1000));
    expect((await store.loadSnapshot("import", facts, 1010)).snapshot?.position).toBe(1000);
    cut();
    expect(await store.remove("s", { lease })).toBe(true);
    expect(await store.find("s")).toBeUndefined();
    expect(proxy.cuts).toBeGreaterThanOrEqual(18);
    const left = await postgres.query("SELECT count(DISTINCT body) AS n FROM kakeya.chunks", database);
    expect(Number(left[0]?.n)).toBe(1);
  }, 120_000);

  test("after a crash of the database, everything that was acknowledged is there, and calls in between have waited", async () => {
    const store = await open(await postgres.database());
    const leases = await Promise.all(["s", "t"].map((id) => store.create(newSession(id))));
    let committed = 0;
    let isOver = false;
    const committing = (async () => {
      for (; !isOver; committed++) {
        const position = committed;
        await store.commit(leases.map((lease) => ({ lease, position, ids: idsFrom(position, 1), generated: 1 })));
      }
    })();
    for (let crash = 0; crash < 3; crash++) {
      const until = committed + 20;
      while (committed < until) await Bun.sleep(1);
      await postgres.kill();
      const [lease] = leases;
      const saving = lease && store.saveSnapshot(lease, snapshotAt(committed, 3 << 20));
      await postgres.start();
      await saving;
    }
    isOver = true;
    await committing;
    for (const id of ["s", "t"]) expect(await store.ids(id, 0, committed)).toEqual(idsFrom(0, committed));
    expect((await store.find("s"))?.tokens).toBe(committed);
    const { snapshot } = await store.loadSnapshot("s", facts, committed);
    expect(snapshot?.body[0]?.length).toBe(3 << 20);
    await store.close();
  }, 300_000);

  test("a call that has waited for too long says that the database can't be reached, and later ones succeed", async () => {
    await using store = await open(await postgres.database(), { waitS: 0 });
    const lease = await store.create(newSession("s"));
    await store.commit([{ lease, position: 0, ids: idsFrom(0, 5), generated: 0 }]);
    await postgres.stop();
    const error = await rejection(store.commit([{ lease, position: 5, ids: idsFrom(5, 1), generated: 0 }]));
    expect(error).toMatchObject({ kind: "unreachable" });
    expect(error.message).toContain("can't be reached");
    expect(await rejection(store.find("s"))).toMatchObject({ kind: "unreachable" });
    await postgres.start();
    expect(await store.ids("s", 0, 5)).toEqual(idsFrom(0, 5));
    await store.commit([{ lease, position: 5, ids: idsFrom(5, 1), generated: 0 }]);
  }, 120_000);

  test("no message has the password", async () => {
    const url = "postgres://kakeya:secret@localhost/none?host=/nowhere";
    const error = await rejection(open(url, { waitS: 0 }));
    expect(error).toMatchObject({ kind: "unreachable" });
    expect(Bun.inspect(error)).not.toContain("secret");
  });
});
