import { expect, test } from "bun:test";
import fc from "fast-check";
import { chunkLength, geometry } from "../../src/kv/geometry.ts";
import { RemoteRows } from "../../src/kv/remote-rows.ts";
import { emptyWord, FloatRows } from "../../src/kv/rows.ts";
import { Slab } from "../../src/kv/slab.ts";
import { SlabMemory } from "../../src/kv/slab-memory.ts";

const shape = { layers: 2, kvHeads: 2, headDim: 4 };
const frequencies = Float64Array.of(1, 0.1);
const capacity = 2;
const emptyFloat = new Float32Array(Uint32Array.of(emptyWord).buffer)[0] ?? 0;

/** Rings in another memory, by id: [kvHeads, ringRows, headDim] each. They do what a device does with what is pending. */
class Elsewhere {
  readonly rings: Float32Array[];

  constructor(
    readonly rows: RemoteRows,
    readonly ringRows: number,
  ) {
    const size = shape.kvHeads * ringRows * shape.headDim;
    this.rings = Array.from({ length: capacity }, () => new Float32Array(size).fill(Number.NaN));
  }

  ringOf(place: number): Float32Array {
    return this.rings[this.rows.ringId(place)] ?? new Float32Array(0);
  }

  settle(place: number): void {
    const ring = this.ringOf(place);
    const { cleared, fresh, erased } = this.rows.pending(place);
    if (cleared) ring.fill(emptyFloat);
    const at = (head: number, row: number) => (head * this.ringRows + row) * shape.headDim;
    for (const [row, numbers] of fresh) {
      expect(erased.has(row)).toBe(false);
      for (let head = 0; head < shape.kvHeads; head++) {
        ring.set(numbers.subarray(head * shape.headDim, (head + 1) * shape.headDim), at(head, row));
      }
    }
    for (const row of erased) ring[at(0, row)] = emptyFloat;
    const words = new Uint32Array(ring.buffer);
    this.rows.settled(
      place,
      Uint32Array.from({ length: this.ringRows }, (_, row) => words[at(0, row)] ?? 0),
    );
  }
}

function both(sink: number, window: number) {
  const g = geometry(sink, window);
  const layers = Array.from({ length: shape.layers }, () => ({
    key: new RemoteRows(g, shape, capacity),
    value: new RemoteRows(g, shape, capacity),
  }));
  const all = layers.flatMap(({ key, value }) => [key, value]).map((rows) => new Elsewhere(rows, g.ringRows));
  const remote = new SlabMemory(g, shape, capacity, frequencies, layers);
  const here = new SlabMemory(g, shape, capacity, frequencies);
  return { g, all, remote, here };
}

test("whatever is appended, damaged, moved and saved, rows elsewhere are those of a slab that is all here", () => {
  const command = fc.oneof(
    { weight: 8, arbitrary: fc.record({ append: fc.integer({ min: 1, max: 40 }) }) },
    fc.constant("settle" as const),
    fc.constant("damage" as const),
    fc.constant("swap" as const),
    fc.constant("save" as const),
  );
  fc.assert(
    fc.property(
      fc.constantFrom(0, 4, 36),
      fc.integer({ min: 1, max: 70 }),
      fc.array(command, { minLength: 5, maxLength: 40 }),
      (sink, window, commands) => {
        const { g, all, remote, here } = both(sink, window);
        const slabs = [new Slab(remote, 0), new Slab(here, 0)] as const;
        const settle = () => all.forEach((each) => void each.settle(slabs[0].place));
        let isDamaged = false;
        let made = 0;
        const random = (count: number) => Float32Array.from({ length: count }, () => Math.sin(++made));
        for (const command of commands) {
          if (command === "settle") settle();
          else if (command === "damage") {
            isDamaged = true;
            for (const slab of slabs) if (slab.position > 0) slab.damage();
          } else if (command === "swap") {
            for (const memory of [remote, here]) memory.swap(0, 1);
            for (const slab of slabs) slab.place = 1 - slab.place;
          } else if (command === "save") {
            settle();
            for (const each of all) each.rows.copied(slabs[0].place, each.ringOf(slabs[0].place));
            const saved = slabs[0].save();
            const expected = slabs[1].save();
            // The sinks' own keys come last: of those that are not there yet they say nothing in particular. A damaged sink
            // has its own key kept here, and is rotated from that: so a damaged slab is only counted.
            const own = slabs[0].position < sink ? sink * shape.headDim * shape.kvHeads * shape.layers : 0;
            const compared = ({ facts, floats }: typeof saved) => [facts, floats.subarray(0, floats.length - own)];
            if (!isDamaged) expect(compared(saved)).toEqual(compared(expected));
            for (const each of all) each.rows.copied(slabs[0].place, undefined);
            for (const slab of slabs) slab.recount();
            expect(slabs[0].rowCounts).toEqual(slabs[1].rowCounts);
          } else {
            const count = chunkLength(g, slabs[0].position, command.append);
            const layers = Array.from({ length: shape.layers }, () => random(shape.kvHeads * count * shape.headDim));
            const rows = {
              keys: layers,
              values: layers.map((keys) => keys.map((x) => -x)),
              tokens: count,
              index: 0,
              count,
            };
            for (const slab of slabs) {
              slab.prepare();
              slab.commit(rows);
            }
          }
          expect(slabs[0].rowCounts).toEqual(slabs[1].rowCounts);
        }
      },
    ),
    { numRuns: 200 },
  );
});

test("a saved slab is loaded into rows elsewhere, and a place is empty for its next slab", () => {
  const { all, remote, here } = both(4, 40);
  const original = new Slab(here, 0);
  while (original.position < 80) {
    const count = chunkLength(here.geometry, original.position, 7);
    const rows = new Float32Array(shape.kvHeads * count * shape.headDim).fill(original.position + 1);
    original.prepare();
    original.commit({ keys: [rows, rows], values: [rows, rows], tokens: count, index: 0, count });
  }
  const { facts, floats } = original.save();
  const loaded = new Slab(remote, 1);
  loaded.load(facts, floats);
  for (const each of all) each.settle(1);
  loaded.recount();
  expect(loaded.rowCounts).toEqual(original.rowCounts);
  for (const each of all) each.rows.copied(1, each.ringOf(1));
  expect(loaded.save()).toEqual({ facts, floats });
  const next = new Slab(remote, 1);
  for (const each of all) each.settle(1);
  next.recount();
  expect([...next.rowCounts]).toEqual([0, 0]);
});

test("a ring that was not copied here is not read, and a place that is not there is refused", () => {
  const rows = new RemoteRows(geometry(4, 40), shape, capacity);
  expect(() => rows.readRow(0, 0, { inRing: true, row: 0 })).toThrow("copied before it is read");
  expect(() => rows.clear(2)).toThrow("no place 2");
  expect(() => rows.swap(0, 2)).toThrow();
  expect(rows.current).toHaveLength(capacity * shape.kvHeads * 32 * shape.headDim);
  expect(rows.rowWords).toBe(new FloatRows(geometry(4, 40), shape, 1).rowWords);
});
