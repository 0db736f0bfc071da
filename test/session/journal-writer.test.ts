import { expect, test } from "bun:test";
import { NotRecorded } from "../../src/session/errors.ts";
import { JournalWriter } from "../../src/session/journal-writer.ts";
import { SqliteStore } from "../../src/state/sqlite-store.ts";
import type { JournalEntry } from "../../src/state/store.ts";
import { rejection } from "../rejection.ts";
import { scratchDir } from "../scratch.ts";
import { idsFrom, newSession } from "../state/sessions.ts";

/** A writer to a real folder with some sessions, and the sizes of its transactions that were not refused. */
async function writing(sessions: readonly string[]) {
  const scratch = scratchDir();
  const state = await SqliteStore.open({ dir: scratch.path, sync: "normal" });
  const leases = await Promise.all(sessions.map((id) => state.create(newSession(id))));
  const transactions: number[] = [];
  const writer = new JournalWriter({
    async commit(entries) {
      await state.commit(entries);
      transactions.push(entries.length);
    },
  });
  const entry = (i: number, position: number): JournalEntry => {
    const lease = leases[i];
    if (lease === undefined) throw new Error(`there is no session ${i}`);
    return { lease, position, ids: idsFrom(position, 1), generated: 1 };
  };
  return {
    ...{ state, transactions, writer, entry },
    async [Symbol.asyncDispose]() {
      await state.close();
      scratch[Symbol.dispose]();
    },
  };
}

test("what many sessions write at the same time is one transaction, and so is what comes meanwhile", async () => {
  const names = ["a", "b", "c", "d"];
  await using opened = await writing(names);
  const { state, transactions, writer, entry } = opened;
  const first = names.map((_, i) => writer.write(entry(i, 0)));
  const meanwhile = first[0]?.then(() => Promise.all(names.map((_, i) => writer.write(entry(i, 1)))));
  await Promise.all([...first, meanwhile]);
  await writer.flushed();
  expect(transactions).toEqual([4, 4]);
  for (const name of names) expect(await state.ids(name, 0, 2)).toEqual(idsFrom(0, 2));
});

test("one session's refused ids are its own failure: the others' are written", async () => {
  await using opened = await writing(["a", "b", "c"]);
  const { state, transactions, writer, entry } = opened;
  const [a, gap, c] = [writer.write(entry(0, 0)), writer.write(entry(1, 7)), writer.write(entry(2, 0))];
  const error = await rejection(gap);
  expect(error).toBeInstanceOf(NotRecorded);
  expect(error.message).toContain("don't continue the 0 of the session");
  await Promise.all([a, c]);
  expect(transactions).toEqual([1, 1]);
  expect((await state.list()).map(({ id, tokens }) => `${id} ${tokens}`).sort()).toEqual(["a 1", "b 0", "c 1"]);
});
