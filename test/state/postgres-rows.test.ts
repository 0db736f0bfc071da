/** How sessions are kept in Postgres: packed, checked, and bounded by the disk. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import path from "node:path";
import { StateError } from "../../src/state/errors.ts";
import { PostgresStore } from "../../src/state/postgres/postgres-store.ts";
import type { Lease } from "../../src/state/store.ts";
import { smallDisk, whyNoSmallDisk } from "../files/small-disk.ts";
import { rejection } from "../rejection.ts";
import { describeWithPostgres, hasPostgres, Postgres } from "./postgres.ts";
import { facts, idsFrom, newSession, snapshotAt } from "./sessions.ts";

let postgres: Postgres;

const databaseOf = (url: string) => new URL(url).pathname.slice(1);
const open = (url: string, waitS = 60) => PostgresStore.open({ url, leaseS: 3600, waitS });

async function stepped(store: PostgresStore, lease: Lease, from: number, steps: number): Promise<void> {
  for (let position = from; position < from + steps; position++) {
    await store.commit([{ lease, position, ids: idsFrom(position, 1), generated: 1 }]);
  }
}

describeWithPostgres("in Postgres", () => {
  beforeAll(async () => {
    postgres = await Postgres.start();
  });
  afterAll(() => postgres[Symbol.asyncDispose]());

  test("a snapshot packs the rows of steps, and no id changes", async () => {
    const url = await postgres.database();
    await using store = await open(url);
    const lease = await store.create(newSession("s"));
    await store.commit([{ lease, position: 0, ids: idsFrom(0, 1980), generated: 0 }]);
    await stepped(store, lease, 1980, 50);
    const rows = () =>
      postgres.query(
        "SELECT position, octet_length(ids) / 4 AS n FROM kakeya.journal ORDER BY position",
        databaseOf(url),
      );
    expect((await rows()).length).toBe(2 + 50);
    await store.saveSnapshot(lease, snapshotAt(2030));
    expect(await rows()).toEqual([
      { position: "0", n: 1000 },
      { position: "1000", n: 1000 },
      { position: "2000", n: 30 },
    ]);
    await stepped(store, lease, 2030, 3);
    await store.saveSnapshot(lease, snapshotAt(2033));
    expect((await rows()).map(({ n }) => n)).toEqual([1000, 1000, 33]);
    expect(await store.ids("s", 0, 2033)).toEqual(idsFrom(0, 2033));
  });

  test.each([
    ["ids", "UPDATE kakeya.journal SET ids = set_byte(ids, 3, get_byte(ids, 3) # 1) WHERE position = 0"],
    ["the place of ids", "UPDATE kakeya.journal SET position = 1001 WHERE position = 1000"],
    ["ids that are missing", "DELETE FROM kakeya.journal WHERE position = 1000"],
    ["the count of ids", "UPDATE kakeya.sessions SET tokens = tokens - 1"],
    ["what a session is", "UPDATE kakeya.sessions SET label = 'another'"],
  ])("damage is noticed: %s", async (_, damage) => {
    const url = await postgres.database();
    await using store = await open(url);
    const lease = await store.create(newSession("s"));
    await store.commit([{ lease, position: 0, ids: idsFrom(0, 1500), generated: 0 }]);
    await postgres.query(damage, databaseOf(url));
    const reading = store.acquire("s").then(() => store.ids("s", 0, 1500));
    expect(await rejection(reading)).toMatchObject({ kind: "damaged" });
  });

  test("a damaged snapshot is set aside, and the one before it is loaded; with both damaged, none", async () => {
    const url = await postgres.database();
    await using store = await open(url);
    const lease = await store.create(newSession("s"));
    await store.commit([{ lease, position: 0, ids: idsFrom(0, 100), generated: 0 }]);
    for (const position of [10, 20]) await store.saveSnapshot(lease, snapshotAt(position, 3 << 20));
    const damage = (body: string) =>
      postgres.query(
        `UPDATE kakeya.chunks SET bytes = set_byte(bytes, 7, 255) WHERE chunk = 1 AND body = (SELECT ${body}(body) FROM kakeya.chunks)`,
        databaseOf(url),
      );
    await damage("max");
    const first = await store.loadSnapshot("s", facts, 100);
    expect(first.snapshot?.position).toBe(10);
    expect(first.setAside).toEqual([
      "the snapshot at position 20 was damaged (the checksum of bytes 1048576 to 2097151 is wrong)",
    ]);
    expect((await store.loadSnapshot("s", facts, 100)).setAside).toEqual([]);
    await damage("min");
    expect((await store.loadSnapshot("s", facts, 100)).snapshot).toBeUndefined();
    for (const position of [40, 50]) await store.saveSnapshot(lease, snapshotAt(position));
    expect((await store.loadSnapshot("s", facts, 100)).snapshot?.position).toBe(50);
    const [left] = await postgres.query("SELECT count(DISTINCT body) AS n FROM kakeya.chunks", databaseOf(url));
    expect(Number(left?.n)).toBe(2);
  });

  test("what a dead server left of a snapshot goes when another begins", async () => {
    const url = await postgres.database();
    await (await open(url)).close();
    await postgres.query("INSERT INTO kakeya.bodies (server) VALUES (1)", databaseOf(url));
    await postgres.query("INSERT INTO kakeya.chunks SELECT body, 0, 'half', 0 FROM kakeya.bodies", databaseOf(url));
    await using _store = await open(url);
    const [left] = await postgres.query("SELECT count(*) AS n FROM kakeya.chunks", databaseOf(url));
    expect(Number(left?.n)).toBe(0);
  });
});

const whyNot = hasPostgres ? whyNoSmallDisk() : "no postgres programs here";

describe.skipIf(whyNot !== undefined)("on a full disk of the database", () => {
  test("calls are refused, what was acknowledged is there, and all works again when there is room", async () => {
    using disk = smallDisk(160 << 20);
    const dir = path.join(disk.path, "cluster");
    mkdirSync(dir);
    await using postgres = await Postgres.startIn(dir, "max_wal_size=64MB");
    const store = await open(await postgres.database(), 1);
    const lease = await store.create(newSession("s"));
    let tokens = 0;
    await store.commit([{ lease, position: tokens, ids: idsFrom(tokens, 5), generated: 0 }]);
    tokens += 5;
    const { bavail, bsize } = statfsSync(disk.path);
    writeFileSync(path.join(disk.path, "ballast"), new Uint8Array(bavail * bsize));
    const refusals: string[] = [];
    for (let call = 0; call < 200 && refusals.length === 0; call++) {
      try {
        await store.commit([{ lease, position: tokens, ids: idsFrom(tokens, 20_000), generated: 0 }]);
        tokens += 20_000;
      } catch (error) {
        if (!(error instanceof StateError)) throw error;
        refusals.push(error.kind);
      }
    }
    // Postgres refuses a table's page, or ends itself over a page of its log.
    expect(["full", "unreachable"]).toContain(refusals[0] ?? "");
    rmSync(path.join(disk.path, "ballast"));
    await postgres.restart();
    await store.close();
    await using again = await open(postgres.url("d1"));
    const session = await again.find("s");
    // A commit of which nobody heard may be there as well.
    expect([tokens, tokens + 20_000]).toContain(session?.tokens ?? -1);
    expect(await again.ids("s", 0, tokens)).toEqual(idsFrom(0, tokens));
  }, 300_000);
});
