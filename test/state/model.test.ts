/** The store against the plainest model of it: whatever is done, and however often the process is killed in between. */

import { expect, test } from "bun:test";
import { cpSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { StateError } from "../../src/state/errors.ts";
import { PostgresStore } from "../../src/state/postgres/postgres-store.ts";
import { SqliteStore } from "../../src/state/sqlite-store.ts";
import type { Lease, StateStore } from "../../src/state/store.ts";
import { scratchDir } from "../scratch.ts";
import { sharedPostgres, stopSharedPostgresAtEnd } from "./places.ts";
import { hasPostgres } from "./postgres.ts";
import { facts, idsFrom, newSession, snapshotAt } from "./sessions.ts";

interface Model {
  ids: number[];
  generated: number;
  /** Positions of the snapshots, the newest last. */
  snapshots: number[];
  lease: Lease;
}

const name = fc.constantFrom("a", "b", "c");
const operation = fc.oneof(
  fc.record({ kind: fc.constant("create" as const), id: name }),
  fc.record({
    kind: fc.constant("commit" as const),
    entries: fc.uniqueArray(
      fc.record({ id: name, count: fc.oneof(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 990, max: 2100 })) }),
      { selector: ({ id }) => id, minLength: 1 },
    ),
    generated: fc.boolean(),
    off: fc.constantFrom(0, 0, 0, 0, -1, 1),
  }),
  fc.record({ kind: fc.constant("save" as const), id: name, back: fc.nat(3) }),
  fc.record({ kind: fc.constant("fork" as const), id: name, to: name, at: fc.nat(1000) }),
  fc.record({ kind: fc.constant("remove" as const), id: name }),
  fc.record({ kind: fc.constant("acquire" as const), id: name }),
  fc.record({ kind: fc.constantFrom("close" as const, "kill" as const) }),
);

/** A store that can be stopped and killed. */
interface Lived extends AsyncDisposable {
  store: StateStore;
  /** Closes it, or does to it what SIGKILL does, and opens what that leaves. */
  again(how: "close" | "kill"): Promise<StateStore>;
}

async function inFolder(): Promise<Lived> {
  const scratch = scratchDir();
  let dir = join(scratch.path, "0");
  let copies = 0;
  const open = () => SqliteStore.open({ dir, sync: "normal" });
  const lived: Lived = {
    store: await open(),
    async again(how) {
      // What a killed process leaves: the files as they are, in a place where nobody holds them.
      const left = join(scratch.path, String(++copies));
      if (how === "kill") cpSync(dir, left, { recursive: true });
      await this.store.close();
      if (how === "kill") dir = left;
      this.store = await open();
      return this.store;
    },
    async [Symbol.asyncDispose]() {
      await this.store.close();
      scratch[Symbol.dispose]();
    },
  };
  return lived;
}

async function inDatabase(): Promise<Lived> {
  const postgres = await sharedPostgres();
  const url = await postgres.database();
  const open = () => PostgresStore.open({ url, leaseS: 3600, waitS: 60 });
  const lived: Lived = {
    store: await open(),
    async again(how) {
      // What a killed server leaves: its lease, until that runs out.
      const expire = "UPDATE kakeya.servers SET expires_at = clock_timestamp() - interval '1 ms'";
      if (how === "kill") await postgres.query(expire, new URL(url).pathname.slice(1));
      await this.store.close();
      this.store = await open();
      return this.store;
    },
    async [Symbol.asyncDispose]() {
      await this.store.close();
    },
  };
  return lived;
}

stopSharedPostgresAtEnd();

const places: [string, () => Promise<Lived>, number][] = [["a folder", inFolder, 40]];
if (hasPostgres) places.push(["a database", inDatabase, 15]);

for (const [where, live, numRuns] of places) {
  test(`whatever is done, what the store in ${where} gives back is what was put in`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { maxLength: 30 }), async (operations) => {
        await using lived = await live();
        let { store } = lived;
        const model = new Map<string, Model>();
        let seed = 0;
        for (const operation of operations) {
          switch (operation.kind) {
            case "create": {
              const known = model.has(operation.id);
              const lease = await refusedAs("exists", known, store.create(newSession(operation.id)));
              if (lease) model.set(operation.id, { ids: [], generated: 0, snapshots: [], lease });
              break;
            }
            case "commit": {
              const { off, generated } = operation;
              const named = operation.entries.flatMap(({ id, count }) => {
                const session = model.get(id);
                return session ? [{ session, ids: idsFrom(++seed, count) }] : [];
              });
              const entries = named.map(({ session, ids }, i) => ({
                lease: session.lease,
                position: session.ids.length + (i === named.length - 1 ? off : 0),
                ids,
                generated: generated ? ids.length : 0,
              }));
              await refusedAs("out-of-order", off !== 0 && named.length > 0, store.commit(entries));
              if (off !== 0) break;
              for (const { session, ids } of named) {
                session.ids.push(...ids);
                session.generated += generated ? ids.length : 0;
              }
              break;
            }
            case "save": {
              const session = model.get(operation.id);
              if (session === undefined) break;
              const position = Math.max(0, session.ids.length - operation.back);
              await store.saveSnapshot(session.lease, snapshotAt(position));
              session.snapshots = [...session.snapshots, position].sort((a, b) => a - b).slice(-2);
              // A new one takes the place of the lowest, even where it is lower itself.
              if (!session.snapshots.includes(position)) session.snapshots = [position, session.snapshots.at(-1) ?? 0];
              break;
            }
            case "fork": {
              const source = model.get(operation.id);
              if (source === undefined) break;
              const at = Math.min(operation.at, source.ids.length);
              const fork = store.fork(operation.id, at, { id: operation.to, label: "", eosTokenIds: [] });
              const lease = await refusedAs("exists", model.has(operation.to), fork);
              const snapshots = source.snapshots.filter((position) => position <= at).slice(-1);
              if (lease) model.set(operation.to, { ids: source.ids.slice(0, at), generated: 0, snapshots, lease });
              break;
            }
            case "remove":
              expect(await store.remove(operation.id)).toBe(model.delete(operation.id));
              break;
            case "acquire": {
              const taken = await store.acquire(operation.id);
              const session = model.get(operation.id);
              expect(taken?.session.tokens).toBe(session?.ids.length);
              if (taken && session) session.lease = taken.lease;
              break;
            }
            case "close":
            case "kill":
              store = await lived.again(operation.kind);
              for (const [id, session] of model) {
                // A folder's leases are only a matter of epochs; a database's are a server's, which has ended.
                if (session.lease.server !== undefined)
                  session.lease = (await store.acquire(id))?.lease ?? session.lease;
              }
              break;
          }
          await expectEqual(store, model);
        }
      }),
      { numRuns, seed: 5 },
    );
  }, 120_000);
}

async function expectEqual(store: StateStore, model: Map<string, Model>): Promise<void> {
  const listed = await store.list();
  expect(listed.map(({ id }) => id).sort()).toEqual([...model.keys()].sort());
  for (const { id, tokens, generated } of listed) {
    const session = model.get(id);
    expect({ tokens, generated }).toEqual({ tokens: session?.ids.length ?? -1, generated: session?.generated ?? -1 });
    expect(Array.from(await store.ids(id, 0, tokens))).toEqual(session?.ids ?? []);
    const { snapshot } = await store.loadSnapshot(id, facts, tokens);
    expect(snapshot?.position).toBe(session?.snapshots.at(-1));
  }
}

/** Undefined when the call was refused, which it must be exactly when `refused` is set. */
async function refusedAs<T>(kind: string, refused: boolean, call: Promise<T>): Promise<T | undefined> {
  try {
    const value = await call;
    expect(refused).toBe(false);
    return value;
  } catch (error) {
    if (!(error instanceof StateError) || error.kind !== kind || !refused) throw error;
    return undefined;
  }
}

test("a journal torn at any byte has everything up to some step, and no half of one", async () => {
  using scratch = scratchDir();
  const dir = join(scratch.path, "whole");
  const store = await SqliteStore.open({ dir, sync: "normal" });
  const [a, b] = [await store.create(newSession("a")), await store.create(newSession("b"))];
  const path = join(dir, "journal.db-wal");
  const lengthBefore = Bun.file(path).size;
  for (let step = 0; step < 3; step++) {
    const ids = idsFrom(step, 1);
    await store.commit([a, b].map((lease) => ({ lease, position: step, ids, generated: 1 })));
  }
  const log = new Uint8Array(await Bun.file(path).arrayBuffer());
  const torn = join(scratch.path, "torn");
  const seen = new Set<number>();
  for (const length of [...tornLengths(lengthBefore, log.length), log.length]) {
    cpSync(dir, torn, { recursive: true });
    rmSync(join(torn, "journal.db-shm")); // Gone after a power cut, and of no use without the log's end.
    await Bun.write(join(torn, "journal.db-wal"), log.subarray(0, length));
    const reopened = await SqliteStore.open({ dir: torn, sync: "normal" });
    const [one, other] = await reopened.list();
    expect(one?.tokens).toBe(other?.tokens ?? -1);
    const tokens = one?.tokens ?? 0;
    expect(Array.from(await reopened.ids("a", 0, tokens))).toEqual(
      [0, 1, 2].slice(0, tokens).map((i) => idsFrom(i, 1)[0] ?? 0),
    );
    seen.add(tokens);
    await reopened.close();
    rmSync(torn, { recursive: true });
  }
  expect([...seen]).toEqual([0, 1, 2, 3]);
  await store.close();
}, 120_000);

/** Every length around the ends of frames, which have 24 bytes before a page, and many in between. */
function* tornLengths(from: number, to: number): Generator<number> {
  for (let length = from; length < to; length += (length - 32 + 30) % 4120 < 60 ? 1 : 61) yield length;
}

test("a flipped bit anywhere in the journal is noticed, or changes nothing", async () => {
  using scratch = scratchDir();
  const dir = join(scratch.path, "whole");
  const store = await SqliteStore.open({ dir, sync: "normal" });
  const expected: Record<string, Uint32Array> = {};
  for (const id of ["a", "b", "c"]) {
    const lease = await store.create(newSession(id));
    expected[id] = idsFrom(id.charCodeAt(0), 1300);
    await store.commit([{ lease, position: 0, ids: expected[id], generated: 0 }]);
  }
  const before = await store.list();
  await store.close();
  expect(readdirSync(dir)).not.toContain("journal.db-wal");
  const good = new Uint8Array(await Bun.file(join(dir, "journal.db")).arrayBuffer());
  const flipped = join(scratch.path, "flipped");
  cpSync(dir, flipped, { recursive: true });

  const outcomes = { noticed: 0, harmless: 0 };
  await fc.assert(
    fc.asyncProperty(fc.nat(good.length * 8 - 1), async (bit) => {
      const bad = good.slice();
      bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      await Bun.write(join(flipped, "journal.db"), bad);
      try {
        const reopened = await SqliteStore.open({ dir: flipped, sync: "normal" });
        try {
          expect(await reopened.list()).toEqual(before);
          for (const [id, ids] of Object.entries(expected)) {
            expect((await reopened.find(id))?.tokens).toBe(ids.length);
            expect(await reopened.ids(id, 0, ids.length)).toEqual(ids);
          }
        } finally {
          await reopened.close();
        }
        outcomes.harmless++;
      } catch (error) {
        if (!(error instanceof StateError)) throw error;
        outcomes.noticed++;
      }
    }),
    { numRuns: 1500, seed: 6 },
  );
  expect(outcomes.noticed).toBeGreaterThan(0);
}, 120_000);
