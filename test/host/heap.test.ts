import { heapSize } from "bun:jsc";
import { expect, test } from "bun:test";
import fc from "fast-check";
import { BoundedHeap, threadHeap } from "../../src/host/heap.ts";
import { makeOldGarbage } from "../old-garbage.ts";

const mib = 2 ** 20;

test("what outlived a young collection is freed when it comes to more than 8 MiB", () => {
  const heap = new BoundedHeap(threadHeap);
  heap.look();
  const before = threadHeap.collect();
  heap.look();
  makeOldGarbage(Math.max(10 * mib, 0.6 * before));
  heap.look();
  expect(heapSize() - before).toBeLessThan(4 * mib);
});

test("whatever garbage comes, after a look the heap is at most 8 MiB, or half, larger than what lives", () => {
  const rounds = fc.array(fc.record({ garbage: fc.nat(50 * mib), collectedByItself: fc.boolean() }), { maxLength: 50 });
  fc.assert(
    fc.property(fc.nat(300 * mib), rounds, (lives, rounds) => {
      let garbage = 0;
      let collections = 0;
      const heap = new BoundedHeap({
        size: () => lives + garbage,
        collect: () => {
          garbage = 0;
          collections++;
          return lives;
        },
      });
      for (const round of rounds) {
        if (round.collectedByItself) garbage = 0;
        garbage += round.garbage;
        const [garbageBefore, collectionsBefore] = [garbage, collections];
        heap.look();
        expect(garbage).toBeLessThanOrEqual(Math.max(8 * mib, lives / 2));
        if (garbageBefore <= 8 * mib) expect(collections).toBe(collectionsBefore);
      }
    }),
    { seed: 7 },
  );
});
