import { expect, test } from "bun:test";
import { lstatSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PostgresStore } from "../../src/state/postgres/postgres-store.ts";
import { isSessionFile } from "../../src/state/session-file.ts";
import { SqliteStore } from "../../src/state/sqlite-store.ts";
import { start } from "../bench/processes.ts";
import { deadPart } from "../files/dead-part.ts";
import { scratchDir } from "../scratch.ts";
import { describeWithPostgres, Postgres } from "../state/postgres.ts";
import { idsFrom, newSession } from "../state/sessions.ts";

/** A state folder with the session "a". */
async function stateIn(folder: string, label = ""): Promise<void> {
  await using store = await SqliteStore.open({ dir: join(folder, "state"), sync: "normal" });
  const lease = await store.create({ ...newSession("a"), label });
  await store.commit([{ lease, position: 0, ids: idsFrom(0, 100), generated: 0 }]);
}

const exportTo = (folder: string, file: string) => start(["sessions", "export", "a", file, "--state", "state"], folder);

test("a label that is meant for the terminal reaches it as text; JSON has it as it is", async () => {
  using scratch = scratchDir();
  const label = "a\u001b[2J\u202etxt";
  await stateIn(scratch.path, label);
  await using listed = start(["sessions", "list", "--state", "state"], scratch.path);
  expect((await listed.stdout).split("\n")[1]).toMatch(/^a +100 +\S+Z +0\.0 MB +a \[2J txt$/);
  await using read = start(["sessions", "list", "--state", "state", "--json"], scratch.path);
  expect(JSON.parse(await read.stdout)).toEqual([expect.objectContaining({ id: "a", label, history_tokens: 100 })]);
});

test("a link stays one: the session is exported to its target", async () => {
  using scratch = scratchDir();
  await stateIn(scratch.path);
  symlinkSync("target", join(scratch.path, "link"));
  for (const name of ["link", "target"]) {
    await using exported = exportTo(scratch.path, name);
    expect(await exported.exited).toBe(0);
  }
  expect(lstatSync(join(scratch.path, "link")).isSymbolicLink()).toBe(true);
  expect(isSessionFile(readFileSync(join(scratch.path, "target"), "latin1"))).toBe(true);
});

test("a file that is not an exported session is left alone, with code 2", async () => {
  using scratch = scratchDir();
  await stateIn(scratch.path);
  writeFileSync(join(scratch.path, "notes"), "my notes");
  await using exported = exportTo(scratch.path, "notes");
  expect(await exported.exited).toBe(2);
  expect(await exported.stderr).toStartWith("kakeya: notes: already exists, and kakeya did not write it");
  expect(readFileSync(join(scratch.path, "notes"), "utf8")).toBe("my notes");
});

test("what a killed process left among the snapshots goes when the folder is opened", async () => {
  using scratch = scratchDir();
  await stateIn(scratch.path);
  const left = deadPart(join(scratch.path, "state/snapshots/1.a"));
  writeFileSync(left, "half");
  await using _store = await SqliteStore.open({ dir: join(scratch.path, "state"), sync: "normal" });
  expect(lstatSync(left, { throwIfNoEntry: false })).toBeUndefined();
});

describeWithPostgres("with a database", () => {
  test("sessions are listed, exported, imported and removed beside the servers that have them", async () => {
    await using postgres = await Postgres.start();
    using scratch = scratchDir();
    const url = await postgres.database();
    await using server = await PostgresStore.open({ url, serverName: "a server", leaseS: 3600, waitS: 60 });
    const lease = await server.create(newSession("a"));
    await server.commit([{ lease, position: 0, ids: idsFrom(0, 100), generated: 0 }]);
    const run = async (...args: string[]) => {
      await using command = start(["sessions", ...args, "--state", url], scratch.path);
      return { code: await command.exited, out: await command.stdout, err: await command.stderr };
    };
    const [listed] = JSON.parse((await run("list", "--json")).out);
    expect(listed).toMatchObject({ id: "a", history_tokens: 100, held_by: "a server" });
    expect(await run("export", "a", "file")).toMatchObject({ code: 0 });
    const imported = (await run("import", "file", "--new-id")).out.trim();
    expect(await server.ids(imported, 0, 100)).toEqual(idsFrom(0, 100));
    expect((await server.acquire(imported))?.session).toMatchObject({ tokens: 100, label: "label of a" });
    const refused = await run("remove", "a");
    expect(refused).toMatchObject({ code: 1 });
    expect(refused.err).toContain("a server");
    await server.release(lease);
    expect(await run("remove", "a")).toMatchObject({ code: 0 });
    expect(await server.find("a")).toBeUndefined();
  }, 60_000);
});
