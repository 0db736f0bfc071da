import { expect, test } from "bun:test";
import fc from "fast-check";
import { type Occupant, Places } from "../../src/kv/places.ts";

interface Named extends Occupant {
  name: number;
}

test("after any takes, releases and gathers each occupant keeps its contents and a batch lies side by side", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("take" as const) }),
    fc.record({ kind: fc.constant("release" as const), which: fc.nat() }),
    fc.record({ kind: fc.constant("gather" as const), picks: fc.array(fc.nat(), { minLength: 1, maxLength: 9 }) }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 9 }), fc.array(step, { maxLength: 60 }), (capacity, steps) => {
      const places = new Places<Named>(capacity);
      const memory = new Array<number>(capacity).fill(0);
      let next = 1;
      let live: Named[] = [];
      for (const s of steps) {
        const of = (pick: number) => live[pick % live.length] as Named;
        if (s.kind === "take") {
          if (live.length === capacity) {
            expect(() => places.take((place) => ({ place, name: 0 }))).toThrow("all");
            continue;
          }
          const one = places.take((place) => ({ place, name: next++ }));
          memory[one.place] = one.name;
          live.push(one);
        } else if (live.length === 0) {
          continue;
        } else if (s.kind === "release") {
          const one = of(s.which);
          places.release(one);
          live = live.filter((other) => other !== one);
        } else {
          const picked = [...new Set(s.picks.map(of))];
          const batch = places.gather(picked, (a, b) => {
            [memory[a], memory[b]] = [memory[b] ?? 0, memory[a] ?? 0];
          });
          expect(new Set(batch)).toEqual(new Set(picked));
          for (const [i, one] of batch.entries()) expect(one.place).toBe((batch[0]?.place ?? 0) + i);
        }
        for (const one of live) expect(memory[one.place]).toBe(one.name);
      }
    }),
  );
});

test("what lies side by side already is not moved", () => {
  const places = new Places<Occupant>(4);
  const [, b, c] = [1, 2, 3].map(() => places.take((place) => ({ place })));
  const moved = () => {
    throw new Error("it was moved");
  };
  expect(places.gather([c, b] as Occupant[], moved)).toEqual([b, c] as Occupant[]);
});
