import { expect, test } from "bun:test";
import { join, resolve } from "node:path";
import { Client, KakeyaError } from "../../src/client/index.ts";
import { readyAddress } from "../../src/host/ready.ts";
import { openState } from "../../src/state/open.ts";
import { rejection } from "../rejection.ts";
import { scratchDir } from "../scratch.ts";
import { newSession } from "./sessions.ts";

test("when the state's thread crashes, calls in flight and later ones fail, and it is known", async () => {
  using scratch = scratchDir();
  const worker = new Worker(join(import.meta.dir, "crashing-worker.ts"));
  const store = await openState({ dir: join(scratch.path, "state"), sync: "normal" }, worker);
  await store.create(newSession("before"));
  expect(store.crashed.aborted).toBe(false);
  const known = new Promise((resolve) => store.crashed.addEventListener("abort", resolve));
  await store.create({ ...newSession("last"), label: "crash" }).catch(() => {});
  await known;
  expect(store.crashed.reason.message).toContain("boom");
  expect(await rejection(store.list())).toBe(store.crashed.reason);
  await store.close();
});

test("a server whose state's thread crashes ends with code 1; the next one has what was acknowledged", async () => {
  using scratch = scratchDir();
  const root = resolve(import.meta.dir, "../..");
  const flags = ["--bind", "127.0.0.1:0", "--http", "off", "--json", "--stop-with-stdin", "--state", scratch.path];
  const start = (...preload: string[]) =>
    Bun.spawn([process.execPath, ...preload, join(root, "src/main.ts"), "serve", ...flags], {
      stdio: ["pipe", "pipe", "pipe"],
    });
  const crashing = start("--preload", join(import.meta.dir, "crashing-preload.ts"));
  let id: string;
  {
    using client = new Client((await readyAddress(crashing.stdout)) ?? "", { retryS: 0 });
    const session = await client.createSession();
    id = session.id;
    await session.append([1, 2, 3]);
    await client.createSession({ label: "crash" }).catch((error) => expect(error).toBeInstanceOf(KakeyaError));
    expect(await crashing.exited).toBe(1);
  }
  expect(await new Response(crashing.stderr).text()).toMatch(/ error a thread crashed error=".*boom/);
  const next = start();
  using client = new Client((await readyAddress(next.stdout)) ?? "");
  expect((await client.session(id).info()).historyTokens).toBe(3);
  next.stdin.end();
  expect(await next.exited).toBe(0);
});
