import { expect, test } from "bun:test";
import fc from "fast-check";
import { Turns } from "../../src/session/turns.ts";
import { rejection } from "../rejection.ts";

test("whatever the calls and cancellations, turns come one at a time and in order of arrival", async () => {
  const call = fc.record({ givesUp: fc.boolean(), works: fc.nat(3) });
  await fc.assert(
    fc.asyncProperty(fc.array(call, { maxLength: 30 }), async (calls) => {
      const turns = new Turns(calls.length);
      const order: number[] = [];
      let running = 0;
      const outcomes = calls.map(async ({ givesUp, works }, i) => {
        const abort = new AbortController();
        const turn = turns.begin(abort.signal);
        if (givesUp) abort.abort(new Error("gave up"));
        using _ = await turn;
        order.push(i);
        expect(++running).toBe(1);
        for (let n = 0; n < works; n++) await Promise.resolve();
        running--;
      });
      const settled = await Promise.allSettled(outcomes);
      const served = settled.flatMap(({ status }, i) => (status === "fulfilled" ? [i] : []));
      expect(order).toEqual(served);
      for (const [i, { givesUp }] of calls.entries()) if (!givesUp) expect(served).toContain(i);
      expect(turns.idle).toBe(true);
      expect(turns.waiting).toBe(0);
    }),
  );
});

test("more waiting calls than allowed are refused with the number that waits", async () => {
  const turns = new Turns(2);
  const running = await turns.begin();
  const waiting = [turns.begin(), turns.begin()];
  expect((await rejection(turns.begin())).message).toContain("2 calls wait for this session already");
  running[Symbol.dispose]();
  for (const turn of waiting) (await turn)[Symbol.dispose]();
  expect(turns.idle).toBe(true);
});

test("a turn ended twice hands over once", async () => {
  const turns = new Turns(2);
  const first = await turns.begin();
  const second = turns.begin();
  const third = turns.begin();
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  await second;
  expect(turns.waiting).toBe(1);
  (await second)[Symbol.dispose]();
  (await third)[Symbol.dispose]();
});

test("closing refuses those who wait and those who come later; who runs goes on", async () => {
  const turns = new Turns(2);
  const running = await turns.begin();
  const waiting = turns.begin();
  turns.close(new Error("over"));
  expect((await rejection(waiting)).message).toContain("over");
  expect((await rejection(turns.begin())).message).toContain("over");
  expect(turns.idle).toBe(false);
  running[Symbol.dispose]();
});

test("a signal that aborted before keeps its call from the queue", async () => {
  const turns = new Turns(2);
  expect((await rejection(turns.begin(AbortSignal.abort(new Error("never mind"))))).message).toContain("never mind");
  expect(turns.idle).toBe(true);
});
