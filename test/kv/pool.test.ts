import { expect, test } from "bun:test";
import fc from "fast-check";
import { Pool } from "../../src/kv/pool.ts";

test("after any creates, frees and gathers each slab keeps its contents and a batch lies side by side", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("create" as const) }),
    fc.record({ kind: fc.constant("free" as const), which: fc.nat() }),
    fc.record({ kind: fc.constant("gather" as const), picks: fc.array(fc.nat(), { minLength: 1, maxLength: 9 }) }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 9 }), fc.array(step, { maxLength: 60 }), (capacity, steps) => {
      const pool = new Pool(capacity);
      const memory = new Array<number>(capacity).fill(0);
      let live: number[] = [];
      for (const s of steps) {
        if (s.kind === "create") {
          if (live.length === capacity) {
            expect(() => pool.create()).toThrow("all");
            continue;
          }
          const { id, place } = pool.create();
          memory[place] = id;
          live.push(id);
        } else if (live.length === 0) {
          continue;
        } else if (s.kind === "free") {
          const id = live[s.which % live.length] ?? 0;
          pool.free(id);
          live = live.filter((other) => other !== id);
          expect(pool.has(id)).toBe(false);
        } else {
          const ids = [...new Set(s.picks.map((pick) => live[pick % live.length] ?? 0))];
          const batch = pool.gather(ids, (a, b) => {
            [memory[a], memory[b]] = [memory[b] ?? 0, memory[a] ?? 0];
          });
          expect(memory.slice(batch.first, batch.first + ids.length)).toEqual(batch.ids);
          expect([...batch.ids].sort()).toEqual([...ids].sort());
        }
        expect(pool.size).toBe(live.length);
        for (const id of live) expect(memory[pool.place(id)]).toBe(id);
      }
    }),
  );
});

test("slabs that lie side by side already are not moved", () => {
  const pool = new Pool(4);
  const ids = [pool.create().id, pool.create().id, pool.create().id];
  const moved = () => {
    throw new Error("a slab was moved");
  };
  expect(pool.gather([ids[2] ?? 0, ids[1] ?? 0], moved)).toEqual({ first: 1, ids: [ids[1] ?? 0, ids[2] ?? 0] });
});

test("an id is never used again, and unknown ones are refused by name", () => {
  const pool = new Pool(1);
  const { id } = pool.create();
  pool.free(id);
  expect(pool.create().id).not.toBe(id);
  expect(() => pool.place(id)).toThrow(`there is no slab ${id}`);
  expect(() => pool.free(id)).toThrow(`there is no slab ${id}`);
});
