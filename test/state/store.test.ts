import { describe, expect, test } from "bun:test";
import { copyFileSync, existsSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { differences } from "../../src/state/facts.ts";
import { openState } from "../../src/state/open.ts";
import type { StateStore } from "../../src/state/store.ts";
import { rejection } from "../rejection.ts";
import { scratchDir } from "../scratch.ts";
import { folders, places, stopSharedPostgresAtEnd } from "./places.ts";
import { facts, idsFrom, newSession, snapshotAt } from "./sessions.ts";

stopSharedPostgresAtEnd();

describe.each(places)("%s", (_, newPlace) => {
  test("gives back sessions and ids as they were committed, after it was closed, too", async () => {
    using place = await newPlace();
    let store = await place.open();
    const [a, b] = [await store.create(newSession("a")), await store.create(newSession("b"))];
    await store.commit([{ lease: a, position: 0, ids: idsFrom(0, 2500), generated: 0 }]);
    await store.commit([
      { lease: a, position: 2500, ids: idsFrom(2500, 1), generated: 1 },
      { lease: b, position: 0, ids: idsFrom(0, 1), generated: 1 },
    ]);
    await store.close();
    store = await place.open();
    expect(await store.ids("a", 0, 2501)).toEqual(idsFrom(0, 2501));
    expect(await store.ids("a", 999, 1001)).toEqual(idsFrom(999, 2));
    expect(await store.ids("a", 7, 7)).toEqual(new Uint32Array());
    expect(await store.find("a")).toMatchObject({ ...newSession("a"), tokens: 2501, generated: 1, keptFrom: 0 });
    expect(await store.find("nobody")).toBeUndefined();
    expect((await store.sizes()).sessions).toBe(2);
    await store.close();
  });

  test("refuses a gap and an overlap, and then takes none of the step's ids", async () => {
    using place = await newPlace();
    const store = await place.open();
    const [a, b] = [await store.create(newSession("a")), await store.create(newSession("b"))];
    await store.commit([{ lease: b, position: 0, ids: idsFrom(0, 10), generated: 0 }]);
    for (const position of [9, 11]) {
      const step = [
        { lease: a, position: 0, ids: idsFrom(0, 1), generated: 1 },
        { lease: b, position, ids: idsFrom(position, 1), generated: 1 },
      ];
      const error = await rejection(store.commit(step));
      expect(error).toMatchObject({ name: "StateError", kind: "out-of-order" });
      expect(error.message).toBe(`ids from position ${position} on don't continue the 10 of the session "b"`);
    }
    expect((await store.find("a"))?.tokens).toBe(0);
    expect(await store.ids("b", 0, 10)).toEqual(idsFrom(0, 10));
    await store.close();
  });

  test("lets nobody write who has lost the session to another", async () => {
    using place = await newPlace();
    const store = await place.open();
    const old = await store.create(newSession("a"));
    const taken = await store.acquire("a");
    if (taken === undefined) throw new Error("the session is gone");
    const step = { position: 0, ids: idsFrom(0, 1), generated: 1 };
    const late = [
      store.commit([{ lease: old, ...step }]),
      store.saveSnapshot(old, snapshotAt(0)),
      store.restored(old, 1),
    ];
    const errors = await Promise.all(late.map(rejection));
    for (const error of errors) expect(error).toMatchObject({ kind: "lost-lease" });
    await store.commit([{ lease: taken.lease, ...step }]);
    expect(await store.acquire("nobody")).toBeUndefined();
    await store.close();
  });

  test("counts what was replayed, and knows what the ids are computed with from then on", async () => {
    using place = await newPlace();
    const store = await place.open();
    const lease = await store.create(newSession("a"));
    await store.restored(lease, 30);
    await store.restored(lease, 12, { ...facts, window: 128 });
    expect(await store.find("a")).toMatchObject({ replayed: 42, facts: { ...facts, window: 128 } });
    await store.close();
  });

  test("knows which sessions have been inactive", async () => {
    using place = await newPlace();
    const store = await place.open();
    await store.create(newSession("a"));
    const activeMs = (await store.find("a"))?.activeMs ?? 0;
    expect(await store.inactiveSince(activeMs)).toEqual([]);
    expect(await store.inactiveSince(activeMs + 1)).toEqual(["a"]);
    await store.close();
  });

  test("loads the newest good snapshot that is not beyond what was asked for", async () => {
    using place = await newPlace();
    const store = await place.open();
    const lease = await store.create(newSession("a"));
    await store.commit([{ lease, position: 0, ids: idsFrom(0, 100), generated: 0 }]);
    for (const position of [10, 20, 30]) await store.saveSnapshot(lease, snapshotAt(position));
    const positionAt = async (atMost: number) => (await store.loadSnapshot("a", facts, atMost)).snapshot?.position;
    expect(await positionAt(100)).toBe(30);
    expect(await positionAt(29)).toBe(20);
    expect(await positionAt(19)).toBeUndefined();
    const { snapshot } = await store.loadSnapshot("a", facts, 30);
    expect(snapshot).toMatchObject({ facts, counts: { shift: 32 } });
    expect(Buffer.concat([...(snapshot?.body ?? [])])).toEqual(Buffer.alloc(100, 30));
    expect((await store.sizes()).snapshotBytes).toBe((await store.find("a"))?.snapshotBytes ?? 0);
    expect((await store.loadSnapshot("a", { ...facts, window: 65 }, 100)).snapshot).toBeUndefined();
    expect(await rejection(store.saveSnapshot(lease, snapshotAt(101)))).toMatchObject({ kind: "out-of-order" });
    await store.close();
  });

  test("a bounded journal drops ids only once two snapshots hold what they led to", async () => {
    using place = await newPlace();
    const store = await place.open(500);
    const lease = await store.create(newSession("a"));
    await store.commit([{ lease, position: 0, ids: idsFrom(0, 5000), generated: 0 }]);
    const keptFrom = async () => (await store.find("a"))?.keptFrom;
    await store.saveSnapshot(lease, snapshotAt(3000));
    expect(await keptFrom()).toBe(0);
    await store.saveSnapshot(lease, snapshotAt(5000));
    expect(await keptFrom()).toBe(3000);
    await store.saveSnapshot(lease, snapshotAt(4990));
    expect(await keptFrom()).toBe(4000);
    expect(await store.ids("a", 4000, 5000)).toEqual(idsFrom(4000, 1000));
    expect(await rejection(store.ids("a", 3999, 5000))).toMatchObject({ kind: "dropped" });
    await store.commit([{ lease, position: 5000, ids: idsFrom(5000, 3), generated: 0 }]);
    expect(await store.ids("a", 4999, 5003)).toEqual(idsFrom(4999, 4));

    const fork = await store.fork("a", 5001, { id: "fork", label: "", eosTokenIds: [] });
    expect((await store.loadSnapshot("fork", facts, 5001)).snapshot?.position).toBe(5000);
    await store.commit([{ lease: fork, position: 5001, ids: idsFrom(0, 1), generated: 0 }]);
    expect(await rejection(store.fork("a", 4500, { id: "early", label: "", eosTokenIds: [] }))).toMatchObject({
      kind: "dropped",
    });
    expect(await store.find("early")).toBeUndefined();
    await store.close();
  });

  test("a fork has the ids up to its point, and goes its own way", async () => {
    using place = await newPlace();
    const store = await place.open();
    const lease = await store.create(newSession("a"));
    await store.commit([{ lease, position: 0, ids: idsFrom(0, 2000), generated: 0 }]);
    for (const position of [1000, 1900]) await store.saveSnapshot(lease, snapshotAt(position));
    const fork = await store.fork("a", 1500, { id: "b", label: "the fork", eosTokenIds: [9] });
    await store.commit([{ lease: fork, position: 1500, ids: idsFrom(7, 1), generated: 1 }]);
    expect(await store.ids("b", 0, 1500)).toEqual(idsFrom(0, 1500));
    expect(await store.find("b")).toMatchObject({
      label: "the fork",
      eosTokenIds: [9],
      facts: newSession("a").facts,
      tokens: 1501,
    });
    expect((await store.loadSnapshot("b", facts, 1501)).snapshot?.position).toBe(1000);
    await store.saveSnapshot(fork, snapshotAt(1501));
    expect((await store.loadSnapshot("a", facts, 2000)).snapshot?.position).toBe(1900);
    expect(await store.remove("a")).toBe(true);
    expect((await store.loadSnapshot("b", facts, 1500)).snapshot?.position).toBe(1000);
    expect(await rejection(store.fork("a", 0, { id: "c", label: "", eosTokenIds: [] }))).toMatchObject({
      kind: "not-found",
    });
    await store.close();
  });

  test("removing a session removes its ids and files, and says when there is none", async () => {
    using place = await newPlace();
    const store = await place.open();
    const lease = await store.create(newSession("a"));
    await store.commit([{ lease, position: 0, ids: idsFrom(0, 3000), generated: 0 }]);
    const saving = store.saveSnapshot(lease, snapshotAt(3000, 1 << 20));
    const removing = store.remove("a");
    // A database may be asked for both at once.
    await saving.catch((error) => expect(error).toMatchObject({ kind: "not-found" }));
    expect(await removing).toBe(true);
    expect(await store.remove("a")).toBe(false);
    if (existsSync(place.at)) expect(readdirSync(join(place.at, "snapshots"))).toEqual([]);
    expect(await store.list()).toEqual([]);
    const again = await store.create(newSession("a"));
    await store.commit([{ lease: again, position: 0, ids: idsFrom(1, 1), generated: 0 }]);
    expect(await store.ids("a", 0, 1)).toEqual(idsFrom(1, 1));
    expect(await rejection(store.create(newSession("a")))).toMatchObject({ kind: "exists" });
    await store.close();
  });

  test("a call on a closed folder is refused", async () => {
    using place = await newPlace();
    const store: StateStore = await place.open();
    await store.close();
    await rejection(store.list());
    await store.close();
  });
});

describe.each(folders)("%s", (_, newPlace) => {
  test("sets a damaged snapshot aside and loads the one before it; with both damaged, none", async () => {
    using place = await newPlace();
    const store = await place.open();
    const lease = await store.create(newSession("a"));
    await store.commit([{ lease, position: 0, ids: idsFrom(0, 100), generated: 0 }]);
    for (const position of [10, 20]) await store.saveSnapshot(lease, snapshotAt(position));
    const [older, newer] = ["a", "b"].map((name) => join(place.at, "snapshots", `1.${name}`)) as [string, string];
    writeFileSync(newer, "damaged");
    const first = await store.loadSnapshot("a", facts, 100);
    expect(first.snapshot?.position).toBe(10);
    expect(first.setAside).toEqual([`${newer} was damaged (it ends at byte 7)`]);
    expect(existsSync(newer)).toBe(false);
    expect((await store.loadSnapshot("a", facts, 100)).setAside).toEqual([]);

    writeFileSync(older, new Uint8Array(1000));
    const second = await store.loadSnapshot("a", facts, 100);
    expect(second.snapshot).toBeUndefined();
    expect(second.setAside).toEqual([`${older} was damaged (it does not begin like a snapshot)`]);
    await store.saveSnapshot(lease, snapshotAt(40));
    expect((await store.loadSnapshot("a", facts, 100)).snapshot?.position).toBe(40);
    await store.close();
  });

  test("with a journal from a backup, no snapshot is used that it knows nothing of, however far it grows again", async () => {
    using place = await newPlace();
    const journal = join(place.at, "journal.db");
    const grow = async (store: StateStore, id: string, ids: Uint32Array) => {
      const taken = await store.acquire(id);
      if (taken === undefined) throw new Error("the session is gone");
      await store.commit([{ lease: taken.lease, position: taken.session.tokens, ids, generated: 0 }]);
      return taken.lease;
    };
    let store = await place.open();
    await store.create(newSession("a"));
    await grow(store, "a", idsFrom(0, 50));
    await store.close();
    copyFileSync(journal, `${journal}.backup`);
    store = await place.open();
    await store.saveSnapshot(await grow(store, "a", idsFrom(50, 50)), snapshotAt(90));
    await store.create(newSession("later"));
    await store.saveSnapshot(await grow(store, "later", idsFrom(0, 50)), snapshotAt(50));
    await store.close();
    renameSync(`${journal}.backup`, journal);

    store = await place.open();
    await grow(store, "a", idsFrom(51, 100));
    expect(await store.loadSnapshot("a", facts, 150)).toEqual({ setAside: [] });
    await store.create(newSession("other"));
    await grow(store, "other", idsFrom(3, 100));
    expect(await store.loadSnapshot("other", facts, 100)).toEqual({ setAside: [] });
    await store.close();
  });
});

test("what differs between two engines is named in words", () => {
  expect(differences(facts, facts)).toEqual([]);
  const other = { ...facts, window: 128, rowMultiple: 8 };
  expect(differences(facts, other)).toEqual(["window 64 then, 128 now", "row multiple 1 then, 8 now"]);
});

test("a snapshot's memory is handed over to the thread that writes it, and back", async () => {
  using scratch = scratchDir();
  const store = await openState({ dir: scratch.path, sync: "normal" });
  const lease = await store.create(newSession("a"));
  const buffer = new ArrayBuffer(100);
  const body = [new Uint8Array(buffer, 0, 50), new Uint8Array(buffer, 50)];
  await store.saveSnapshot(lease, { ...snapshotAt(0), body });
  expect(buffer.byteLength).toBe(0);
  expect((await store.loadSnapshot("a", facts, 0)).snapshot?.body[0]?.length).toBe(100);
  await store.close();
});
