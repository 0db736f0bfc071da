import { describe, expect, test } from "bun:test";
import { readdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { StateError } from "../../src/state/errors.ts";
import { SqliteStore } from "../../src/state/sqlite-store.ts";
import { smallDisk, whyNoSmallDisk } from "../files/small-disk.ts";
import { facts, idsFrom, newSession, snapshotAt } from "./sessions.ts";

const open = (dir: string) => SqliteStore.open({ dir, sync: "normal" });
const page = 4096;

/** Takes all of the disk but `pages`. */
function fill(disk: string, pages: number): void {
  const { bavail, bsize } = statfsSync(disk);
  writeFileSync(join(disk, "ballast"), new Uint8Array(Math.max(0, bavail * bsize - pages * page)));
}

function free(disk: string): void {
  rmSync(join(disk, "ballast"));
}

/** Whether it was carried out; false when the disk was too full, and then it must have said so. */
async function carriedOut(call: Promise<unknown>): Promise<boolean> {
  try {
    await call;
    return true;
  } catch (error) {
    if (!(error instanceof StateError) || error.kind !== "full") throw error;
    return false;
  }
}

// What the disk has room for decides which of all the writes of a call is the first to fail.
const rooms = Array.from({ length: 24 }, (_, pages) => pages);

describe.skipIf(whyNoSmallDisk() !== undefined)("on a full disk", () => {
  test("a new folder is opened or refused, and opened once there is room", async () => {
    const outcomes = new Set<boolean>();
    for (const pages of rooms) {
      using disk = smallDisk(1 << 20);
      const dir = join(disk.path, "state");
      fill(disk.path, pages);
      const opened = open(dir);
      outcomes.add(await carriedOut(opened));
      free(disk.path);
      await opened.then(
        (store) => store.close(),
        () => {},
      );
      const store = await open(dir);
      await store.create(newSession("a"));
      await store.close();
    }
    expect([...outcomes]).toEqual([false, true]);
  });

  test.each([
    ["creating a session", async (store: SqliteStore) => store.create(newSession("new"))],
    ["a step", (store: SqliteStore) => step(store, idsFrom(50, 1))],
    ["a long append", (store: SqliteStore) => step(store, idsFrom(50, 9000))],
    ["a fork", (store: SqliteStore) => store.fork("a", 30, { id: "new", label: "", eosTokenIds: [] })],
    [
      "a snapshot",
      async (store: SqliteStore) => {
        const taken = await store.acquire("a");
        if (taken) await store.saveSnapshot(taken.lease, snapshotAt(40, 10 * page));
      },
    ],
  ])("%s is refused or done, changes nothing when refused, and works once there is room", async (_, call) => {
    const outcomes = new Set<boolean>();
    for (const pages of rooms) {
      using disk = smallDisk(1 << 20);
      const dir = join(disk.path, "state");
      let store = await open(dir);
      const lease = await store.create(newSession("a"));
      await store.commit([{ lease, position: 0, ids: idsFrom(0, 50), generated: 0 }]);
      for (const position of [10, 20]) await store.saveSnapshot(lease, snapshotAt(position));
      const before = await seen(store);

      fill(disk.path, pages);
      const done = await carriedOut(call(store));
      outcomes.add(done);
      if (!done) {
        expect(await seen(store)).toEqual(before);
        await store.close();
        free(disk.path);
        store = await open(dir);
        expect(await seen(store)).toEqual(before);
        await call(store);
      } else free(disk.path);
      expect(await seen(store)).not.toEqual(before);
      expect(readdirSync(join(dir, "snapshots")).filter((name) => name.endsWith(".part"))).toEqual([]);
      await store.close();
    }
    expect([...outcomes]).toEqual([false, true]);
  });
});

async function step(store: SqliteStore, ids: Uint32Array): Promise<void> {
  const taken = await store.acquire("a");
  if (taken) await store.commit([{ lease: taken.lease, position: 50, ids, generated: 0 }]);
}

async function seen(store: SqliteStore): Promise<unknown> {
  const sessions = await store.list();
  return await Promise.all(
    sessions.map(async ({ activeMs: _, ...session }) => ({
      session,
      ids: await store.ids(session.id, 0, session.tokens),
      snapshot: (await store.loadSnapshot(session.id, facts, session.tokens)).snapshot,
    })),
  );
}
