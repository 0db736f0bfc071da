import { expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { StateError } from "../../src/state/errors.ts";
import { exportSession, importSession } from "../../src/state/session-file.ts";
import { SqliteStore } from "../../src/state/sqlite-store.ts";
import { rejection } from "../rejection.ts";
import { scratchDir } from "../scratch.ts";
import { facts, idsFrom, newSession, snapshotAt } from "./sessions.ts";

const open = (dir: string, keepIds?: number) =>
  SqliteStore.open({ dir, sync: "normal", ...(keepIds === undefined ? {} : { keepIds }) });

/** A folder with one session of 2500 ids. */
async function filled(dir: string, keepIds?: number): Promise<SqliteStore> {
  const store = await open(dir, keepIds);
  const lease = await store.create(newSession("a"));
  await store.commit([{ lease, position: 0, ids: idsFrom(0, 2500), generated: 30 }]);
  for (const position of [2100, 2400]) await store.saveSnapshot(lease, snapshotAt(position));
  return store;
}

test.each([undefined, 100])(
  "a session goes to another folder as it is, with a journal bounded to %p, too",
  async (keepIds) => {
    using scratch = scratchDir();
    const file = join(scratch.path, "a.session");
    await using store = await filled(join(scratch.path, "here"), keepIds);
    const { keptFrom } = await exportSession(store, "a", file);
    expect(keptFrom).toBe(keepIds === undefined ? 0 : 2000);
    expect(statSync(file).mode & 0o777).toBe(0o600);

    await using other = await SqliteStore.toImport(join(scratch.path, "there"));
    await importSession(other, file);
    const sent = await store.find("a");
    const arrived = await other.find("a");
    const same = { activeMs: expect.any(Number), snapshotBytes: expect.any(Number) };
    expect(arrived).toMatchObject({ ...sent, ...same });
    expect(await other.ids("a", keptFrom, 2500)).toEqual(idsFrom(keptFrom, 2500 - keptFrom));
    expect((await other.loadSnapshot("a", facts, 2500)).snapshot).toEqual(
      (await store.loadSnapshot("a", facts, 2500)).snapshot,
    );
    const taken = await other.acquire("a");
    if (taken === undefined) throw new Error("the session is gone");
    await other.commit([{ lease: taken.lease, position: 2500, ids: idsFrom(2500, 1), generated: 1 }]);
  },
);

test("beside a server that runs on the folder, sessions are listed, exported and imported", async () => {
  using scratch = scratchDir();
  const [dir, file] = [join(scratch.path, "state"), join(scratch.path, "a.session")];
  await using server = await filled(dir);
  await using reader = await SqliteStore.toRead(dir);
  expect((await reader.list()).map(({ id }) => id)).toEqual(["a"]);
  await exportSession(reader, "a", file);
  await using writer = await SqliteStore.toImport(dir);
  expect(await rejection(importSession(writer, file))).toMatchObject({ kind: "exists" });
  await importSession(writer, file, "b");
  expect((await server.acquire("b"))?.session.tokens).toBe(2500);
  expect((await server.loadSnapshot("b", facts, 2500)).snapshot?.position).toBe(2400);
});

test("reading a folder leaves it as it was", async () => {
  using scratch = scratchDir();
  await (await filled(scratch.path)).close();
  const before = readdirSync(scratch.path);
  {
    await using reader = await SqliteStore.toRead(scratch.path);
    expect(await reader.ids("a", 0, 2500)).toEqual(idsFrom(0, 2500));
  }
  expect(readdirSync(scratch.path)).toEqual(before);
});

test("a folder that holds no state can't be read", async () => {
  using scratch = scratchDir();
  const error = await rejection(SqliteStore.toRead(scratch.path));
  expect(error).toMatchObject({ kind: "unusable" });
  expect(error.message).toContain("is not a state folder");
});

test("a file that lost or changed a byte is refused, and nothing is taken in", async () => {
  using scratch = scratchDir();
  const file = join(scratch.path, "a.session");
  await using store = await filled(join(scratch.path, "here"));
  await exportSession(store, "a", file);
  const good = readFileSync(file);
  await using other = await open(join(scratch.path, "there"));
  for (let at = 0; at < good.length; at += 97) {
    const bad = Buffer.from(good);
    bad[at] = (bad[at] ?? 0) ^ 4;
    for (const bytes of [bad, good.subarray(0, at)]) {
      writeFileSync(file, bytes);
      expect(await rejection(importSession(other, file))).toBeInstanceOf(StateError);
    }
  }
  expect(await other.list()).toEqual([]);
  await rejection(importSession(other, join(scratch.path, "nothing")));
});

test("exporting what is not there is refused", async () => {
  using scratch = scratchDir();
  await using store = await open(scratch.path);
  const error = await rejection(exportSession(store, "nobody", join(scratch.path, "file")));
  expect(error.message).toBe('there is no session "nobody"; see sessions list');
});
