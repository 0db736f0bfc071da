import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import {
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { UsageError } from "../../src/cli/exit.ts";
import { removeStaleSocket } from "../../src/host/unix-socket.ts";
import { kakeya } from "../program.ts";
import { rejection } from "../rejection.ts";
import { scratchDir } from "../scratch.ts";

/** A server on a socket of its own. */
async function listening(path: string): Promise<Server & Disposable> {
  const server = createServer().listen(path);
  await new Promise((resolve) => server.once("listening", resolve));
  return Object.assign(server, { [Symbol.dispose]: () => void server.close() });
}

/** A socket that nobody listens on: a server's that is gone. */
async function staleSocket(path: string): Promise<void> {
  using _server = await listening(`${path}.live`);
  renameSync(`${path}.live`, path);
}

const unusable: Record<string, (path: string, folder: string) => unknown> = {
  "a regular file": (path) => writeFileSync(path, "precious"),
  "an empty file": (path) => writeFileSync(path, ""),
  "a folder": (path) => mkdirSync(path),
  "a FIFO": (path) => spawnSync("mkfifo", [path]),
  "a link to a file": (path, folder) => {
    writeFileSync(join(folder, "file"), "precious");
    symlinkSync(join(folder, "file"), path);
  },
  "a link to a stale socket": async (path, folder) => {
    await staleSocket(join(folder, "stale"));
    symlinkSync(join(folder, "stale"), path);
  },
  "a link to nothing": (path, folder) => symlinkSync(join(folder, "nothing"), path),
};

describe("what is no stale socket of ours is refused, and stays as it was", () => {
  test.each(Object.entries(unusable))("%s", async (_, make) => {
    using scratch = scratchDir();
    const path = join(scratch.path, "sock");
    await make(path, scratch.path);
    const before = lstatSync(path, { bigint: true });
    const error = await rejection(removeStaleSocket(path));
    expect(error).toBeInstanceOf(UsageError);
    expect(error.message).toBe(`--bind unix:${path}: what is there is not a socket; choose a path where nothing is`);
    expect(lstatSync(path, { bigint: true })).toEqual(before);
    if (before.isFile() && before.size > 0n) expect(readFileSync(path, "utf8")).toBe("precious");
  });

  test("another server's live socket", async () => {
    using scratch = scratchDir();
    const path = join(scratch.path, "sock");
    using _server = await listening(path);
    const error = await rejection(removeStaleSocket(path));
    expect(error).toBeInstanceOf(UsageError);
    expect(error.message).toContain("another server listens there");
    expect(lstatSync(path).isSocket()).toBe(true);
  });

  test("one that took the stale socket's place while that was asked", async () => {
    using scratch = scratchDir();
    const path = join(scratch.path, "sock");
    await staleSocket(path);
    using _other = await listening(`${path}.other`);
    const removed = rejection(removeStaleSocket(path)); // It has asked the stale socket, and waits for the answer.
    renameSync(`${path}.other`, path);
    expect((await removed).message).toContain("another server listens there");
    expect(readdirSync(scratch.path)).toEqual(["sock"]);
    expect((await rejection(removeStaleSocket(path))).message).toContain("another server listens there");
  });

  // Only root can give a socket away.
  test.if(process.geteuid?.() === 0)("another user's stale socket", async () => {
    using scratch = scratchDir();
    const path = join(scratch.path, "sock");
    await staleSocket(path);
    chownSync(path, 12_345, 12_345);
    expect((await rejection(removeStaleSocket(path))).message).toContain("belongs to user 12345");
    expect(lstatSync(path).isSocket()).toBe(true);
  });
});

test("a stale socket of this user goes", async () => {
  using scratch = scratchDir();
  const path = join(scratch.path, "sock");
  await staleSocket(path);
  await removeStaleSocket(path);
  expect(lstatSync(path, { throwIfNoEntry: false })).toBeUndefined();
});

test("nothing at the path is fine, but its folder must be there", async () => {
  using scratch = scratchDir();
  await removeStaleSocket(join(scratch.path, "sock"));
  const error = await rejection(removeStaleSocket(join(scratch.path, "no/sock")));
  expect(error).toBeInstanceOf(UsageError);
  expect(error.message).toContain(`there is no folder ${join(scratch.path, "no")}`);
});

test("serve exits with code 2 before it loads a model, and the file keeps its words", async () => {
  using scratch = scratchDir();
  const path = join(scratch.path, "diary");
  writeFileSync(path, "precious");
  const child = Bun.spawn([...kakeya, "serve", "--model", "/no/such/model", "--bind", `unix:${path}`], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  expect(await child.exited).toBe(2);
  expect(await new Response(child.stderr).text()).toStartWith(`kakeya: --bind unix:${path}: `);
  expect(readFileSync(path, "utf8")).toBe("precious");
});
