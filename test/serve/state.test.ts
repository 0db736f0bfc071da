import { expect, test } from "bun:test";
import { readdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Client, FailedPrecondition, ResourceExhausted, SessionNotFound } from "../../src/client/index.ts";
import { openState } from "../../src/state/open.ts";
import { smallDisk, whyNoSmallDisk } from "../files/small-disk.ts";
import { rejection } from "../rejection.ts";
import { scratchDir } from "../scratch.ts";
import { type Served, serve } from "./serve-process.ts";
import { serving, testEngine } from "./serving.ts";

const prompt = Array.from({ length: 100 }, (_, i) => (i * 13) % 500);

async function stopped(server: Served): Promise<void> {
  server.process.kill("SIGTERM");
  expect(await server.process.exited).toBe(0);
}

/** The ids of a session that lives through nothing. */
async function uninterrupted(maxTokens: number): Promise<number[]> {
  await using server = await serve();
  using client = new Client(server.address);
  const session = await client.createSession();
  await session.append(prompt);
  const ids = await Array.fromAsync(session.generate({ maxTokens }));
  await stopped(server);
  return ids;
}

test("sessions outlive a server that is killed in the middle of a stream, and one that is stopped", async () => {
  using scratch = scratchDir();
  const dir = join(scratch.path, "state");
  const seen: number[] = [];
  let id: string;
  {
    await using server = await serve("--state", dir);
    using client = new Client(server.address);
    const session = await client.createSession({ label: "survivor" });
    id = session.id;
    await session.append(prompt);
    for await (const tokenId of session.generate({ maxTokens: 10_000 })) {
      if (seen.push(tokenId) === 20) break;
    }
    server.process.kill("SIGKILL");
    await server.process.exited;
  }
  const expected = await uninterrupted(80);
  for (let life = 0; life < 2; life++) {
    await using server = await serve("--state", dir);
    using client = new Client(server.address);
    const session = client.session(id);
    const before = await session.info();
    expect(before.parked).toBe(true);
    expect(before.historyTokens).toBeGreaterThanOrEqual(prompt.length + seen.length);
    // What was computed and not read any more is part of the history, too.
    seen.push(...expected.slice(seen.length, before.historyTokens - prompt.length));
    expect(before.lastTokenId).toBe(seen.at(-1) ?? prompt.at(-1));
    seen.push(...(await Array.fromAsync(session.generate({ maxTokens: 10 }))));
    const after = await session.info();
    expect(after).toMatchObject({ parked: false, generatedTokens: seen.length });
    expect(after.lastTokenId).toBe(seen.at(-1));
    expect(after.computedTokens).toBe(after.historyTokens);
    expect(after.replayedTokens).toBe(life === 0 ? before.historyTokens : before.replayedTokens);
    await stopped(server);
  }
  expect(seen).toEqual(expected.slice(0, seen.length));
  expect(readdirSync(scratch.path)).toEqual(["state"]);
  expect(readdirSync(dir).sort()).toEqual(["journal.db", "lock", "snapshots"]);
});

test("a fork goes its own way, also from an earlier position", async () => {
  using scratch = scratchDir();
  await using server = await serve("--state", scratch.path, "--capacity", "2");
  using client = new Client(server.address);
  const session = await client.createSession();
  await session.append(prompt);
  const ids = await Array.fromAsync(session.generate({ maxTokens: 10 }));
  const fork = await session.fork();
  const early = await session.fork({ at: prompt.length + 5 });
  expect([(await fork.info()).lastTokenId, (await early.info()).lastTokenId]).toEqual([ids[9], ids[4]]);
  expect(await Array.fromAsync(early.generate({ maxTokens: 5 }))).toEqual(ids.slice(5));
  expect(await Array.fromAsync(fork.generate({ maxTokens: 5 }))).toEqual(
    await Array.fromAsync(session.generate({ maxTokens: 5 })),
  );
  expect((await rejection(session.fork({ at: 1000 }))).message).toContain("it can't be forked at 1000");
  await fork.close();
  expect(await rejection(client.session(fork.id).info())).toBeInstanceOf(SessionNotFound);
});

test("without a state folder, a session is forked at its end, and nowhere else", async () => {
  await using server = await serve();
  using client = new Client(server.address);
  const session = await client.createSession();
  await session.append(prompt);
  const fork = await session.fork({ at: prompt.length });
  expect((await fork.info()).lastTokenId).toBe(prompt.at(-1));
  expect(await fork.append([1])).toBe(prompt.length + 1);
  const error = await rejection(session.fork({ at: 5 }));
  expect(error).toBeInstanceOf(FailedPrecondition);
  expect(error.message).toContain("--state");
});

test("what another window has computed is refused with the way out, and rebuilt when asked to", async () => {
  using scratch = scratchDir();
  let id: string;
  {
    await using server = await serve("--state", scratch.path);
    using client = new Client(server.address);
    const session = await client.createSession();
    id = session.id;
    await session.append(prompt);
    await stopped(server);
  }
  {
    await using server = await serve("--state", scratch.path, "--window", "32");
    using client = new Client(server.address);
    const error = await rejection(client.session(id).append([1]));
    expect(error).toBeInstanceOf(FailedPrecondition);
    expect(error.message).toMatch(/window 64 then, 32 now.*--rebuild/);
    await stopped(server);
  }
  await using server = await serve("--state", scratch.path, "--window", "32", "--rebuild");
  using client = new Client(server.address);
  expect(await client.session(id).append([1])).toBe(prompt.length + 1);
  expect((await client.session(id).info()).replayedTokens).toBe(prompt.length);
});

test("a second server on the folder is refused before it loads anything", async () => {
  using scratch = scratchDir();
  await using server = await serve("--state", scratch.path);
  const error = await rejection(serve("--state", scratch.path));
  expect(error.message).toContain(`is in use by another kakeya (process ${server.process.pid} on `);
});

test.each<[string[], string]>([
  [["--sync", "full"], "--sync is about --state: add --state DIR or --state postgres://..."],
  [["--keep-ids", "10"], "--keep-ids is about --state"],
  [["--rebuild"], "--rebuild is about --state"],
  [["--state-lease", "5s", "--state", "folder"], "--state-lease is about a database: add --state postgres://..."],
  [["--state-wait", "5s"], "--state-wait is about a database"],
  [["--state-password-file", "file", "--state", "folder"], "--state-password-file is about a database"],
  [["--server-name", "a", "--state", "folder"], "--server-name is about a database"],
  [["--state", "postgres://db/kakeya", "--state-lease", "500ms"], '--state-lease must be 1 s or longer, not "500ms"'],
])("options about a state that is not there, or is another kind, are refused: %p", async (flags, message) => {
  expect((await rejection(serve(...flags))).message).toContain(message);
});

test("a password on the command line is warned of, and told to nobody", async () => {
  const url = "postgres://kakeya:secret@localhost/none?host=/nowhere";
  const { message } = await rejection(serve("--state", url, "--state-wait", "0s"));
  expect(message).toContain("the password of --state shows in the list of processes");
  expect(message).toContain("postgres://kakeya@localhost/none?host=/nowhere can't be reached");
  expect(message).not.toContain("secret");
});

test.skipIf(whyNoSmallDisk() !== undefined)(
  "on a full disk calls are refused with words, and all goes on where it was once there is room",
  async () => {
    using disk = smallDisk(4 << 20);
    const ballast = join(disk.path, "ballast");
    await using server = await serve("--state", join(disk.path, "state"));
    using client = new Client(server.address);
    const sessions = [await client.createSession(), await client.createSession()] as const;
    for (const session of sessions) await session.append(prompt);
    const seen = await Array.fromAsync(sessions[0].generate({ maxTokens: 10 }));

    const { bavail, bsize } = statfsSync(disk.path);
    writeFileSync(ballast, new Uint8Array(bavail * bsize));
    for (const session of sessions) {
      const error = await rejection(session.append(Array.from({ length: 5000 }, () => 1)));
      expect(error).toBeInstanceOf(ResourceExhausted);
      expect(error.message).toContain("the disk is full");
    }
    expect(await sessions[0].info()).toMatchObject({ historyTokens: prompt.length + 10, generatedTokens: 10 });
    expect(await sessions[1].info()).toMatchObject({ historyTokens: prompt.length });

    rmSync(ballast);
    seen.push(...(await Array.fromAsync(sessions[0].generate({ maxTokens: 10 }))));
    expect(seen).toEqual(await Array.fromAsync(sessions[1].generate({ maxTokens: 20 })));
    expect((await client.createSession()).id).not.toBe("");
    await stopped(server);
  },
);

test("the metrics say what is parked, what came back, and how large the state is", async () => {
  using scratch = scratchDir();
  const engine = await testEngine({ capacity: 1 });
  const state = await openState({ dir: scratch.path, sync: "normal" });
  await using server = await serving({ engine, state });
  const client = server.connect();
  const sessions = [await client.createSession(), await client.createSession()];
  for (const session of sessions) await session.append(prompt);
  const page = await server.server.metrics.registry.metrics();
  expect(page).toContain("session_parked 1");
  expect(page).toContain("session_parked_total 3");
  expect(page).toContain("session_restore_seconds_count 2");
  expect(page).toContain("replayed_tokens_total 0");
  expect(page).toMatch(/state_journal_bytes [1-9]/);
  expect(page).toMatch(/state_snapshot_bytes \d/);
  expect(server.logged.join("")).toContain("session parked");
  await server[Symbol.asyncDispose]();
  await state.close();
  await engine.close();
});
