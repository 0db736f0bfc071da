import { expect, test } from "bun:test";
import { chmodSync, chownSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { SqliteStore } from "../../src/state/sqlite-store.ts";
import { smallDisk, whyNoSmallDisk } from "../files/small-disk.ts";
import { rejection } from "../rejection.ts";
import { scratchDir } from "../scratch.ts";
import { idsFrom, newSession, snapshotAt } from "./sessions.ts";

const open = (dir: string) => SqliteStore.open({ dir, sync: "normal" });

test("the folder is this user's alone, and so is every file in it", async () => {
  using scratch = scratchDir();
  const dir = join(scratch.path, "deep", "state");
  const store = await open(dir);
  const lease = await store.create(newSession("a"));
  await store.commit([{ lease, position: 0, ids: idsFrom(0, 5), generated: 0 }]);
  await store.saveSnapshot(lease, snapshotAt(5));
  const modes = readdirSync(dir, { recursive: true, encoding: "utf8" }).map((name) => {
    const { mode } = statSync(join(dir, name));
    return `${name} ${(mode & 0o777).toString(8)}`;
  });
  expect(modes.sort()).toEqual(
    [
      "journal.db 600",
      "journal.db-shm 600",
      "journal.db-wal 600",
      "lock 600",
      "snapshots 700",
      "snapshots/1.a 600",
    ].sort(),
  );
  expect(statSync(dir).mode & 0o777).toBe(0o700);
  await store.close();
});

test("a second server in the same process is refused, until the first one ends", async () => {
  using scratch = scratchDir();
  const first = await open(scratch.path);
  const error = await rejection(open(scratch.path));
  expect(error).toMatchObject({ kind: "in-use" });
  expect(error.message).toContain(`is in use by another kakeya (process ${process.pid} on `);
  expect(await rejection(open(scratch.path))).toMatchObject({ kind: "in-use" });
  await first.close();
  await (await open(scratch.path)).close();
});

test("a killed process holds the folder no longer, and what it acknowledged is there", async () => {
  using scratch = scratchDir();
  const dir = join(scratch.path, "state");
  const child = Bun.spawn([process.execPath, resolve(import.meta.dir, "holder.ts"), dir], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const reader = child.stdout.getReader();
  expect(new TextDecoder().decode((await reader.read()).value)).toBe("committed\n");
  const error = await rejection(open(dir));
  expect(error).toMatchObject({ kind: "in-use" });
  expect(error.message).toContain(`process ${child.pid} on `);
  child.kill("SIGKILL");
  await child.exited;

  const store = await open(dir);
  expect((await store.list()).map(({ id, tokens }) => `${id} ${tokens}`)).toEqual(["held 1234"]);
  expect(await store.ids("held", 0, 1234)).toEqual(idsFrom(0, 1234));
  await store.close();
});

test("a folder that others can write to is refused", async () => {
  using scratch = scratchDir();
  chmodSync(scratch.path, 0o770);
  const error = await rejection(open(scratch.path));
  expect(error).toMatchObject({ kind: "unusable" });
  expect(error.message).toContain("others can write to");
});

test.skipIf(process.getuid?.() !== 0)("a folder of another user is refused", async () => {
  using scratch = scratchDir();
  chownSync(scratch.path, 12345, 12345);
  const error = await rejection(open(scratch.path));
  expect(error).toMatchObject({ kind: "unusable" });
  expect(error.message).toContain("belongs to user 12345, this is user 0");
});

test("a folder that holds other files is refused, and nothing is put into it", async () => {
  using scratch = scratchDir();
  writeFileSync(join(scratch.path, "thesis.tex"), "");
  const error = await rejection(open(scratch.path));
  expect(error.message).toContain('holds other files ("thesis.tex")');
  expect(readdirSync(scratch.path)).toEqual(["thesis.tex"]);
});

test("the root of a new file system is fine, with what lies there", async () => {
  using scratch = scratchDir();
  mkdirSync(join(scratch.path, "lost+found"));
  await (await open(scratch.path)).close();
  await (await open(scratch.path)).close();
});

test("a file in the folder's place is refused", async () => {
  using scratch = scratchDir();
  writeFileSync(join(scratch.path, "file"), "");
  expect(await rejection(open(join(scratch.path, "file")))).toMatchObject({ kind: "unusable" });
  expect(await rejection(open(join(scratch.path, "file", "below")))).toMatchObject({ kind: "unusable" });
});

test.skipIf(whyNoSmallDisk() !== undefined)("a read-only file system is refused", async () => {
  using disk = smallDisk(1 << 20);
  chmodSync(disk.path, 0o700);
  await (await open(disk.path)).close();
  disk.remount("ro");
  expect(await rejection(open(disk.path))).toMatchObject({ kind: "unusable" });
  expect(await rejection(open(join(disk.path, "new")))).toMatchObject({ kind: "unusable" });
});
