import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { chunkLength, geometry, rowOf, sinkShift } from "../../src/kv/geometry.ts";
import { rotateKeys } from "../../src/kv/rotary.ts";
import { type Slab, SlabMemory } from "../../src/kv/slab.ts";

const shape = { layers: 2, kvHeads: 2, headDim: 4 };
const frequencies = Float64Array.of(1, 0.1);

/** What the model would compute for one token: a key and a value of every layer and head, told apart by their content. */
function keyOf(position: number, layer: number, head: number, stream: number): Float32Array {
  return Float32Array.from(
    { length: shape.headDim },
    (_, i) => 1 + stream * 1000 + position + layer / 4 + head / 8 + i / 64,
  );
}

/** Writes a chunk's rows as the graph does. */
function write(memory: SlabMemory, place: number, position: number, tokens: number, stream: number): void {
  for (let t = 0; t < tokens; t++) {
    for (let layer = 0; layer < shape.layers; layer++) {
      for (let head = 0; head < shape.kvHeads; head++) {
        const at =
          place * memory.slabElements +
          (head * memory.geometry.rows + rowOf(memory.geometry, position + t)) * shape.headDim;
        const row = keyOf(position + t, layer, head, stream);
        memory.keys[layer]?.set(row, at);
        memory.values[layer]?.set(
          row.map((x) => -x),
          at,
        );
      }
    }
  }
}

function rowAt(
  slabs: Float32Array[],
  memory: SlabMemory,
  place: number,
  layer: number,
  head: number,
  row: number,
): number[] {
  const at = place * memory.slabElements + (head * memory.geometry.rows + row) * shape.headDim;
  return Array.from(slabs[layer]?.subarray(at, at + shape.headDim) ?? []);
}

/** The trivial model: the list of all positions, filtered by the definition of what stays. */
function expectHolds(memory: SlabMemory, slab: Slab, place: number, length: number, stream: number): void {
  const { sink, window } = memory.geometry;
  const history = Array.from({ length }, (_, p) => p);
  const live = history.filter((p) => p < sink || p >= Math.max(sink, length - window));
  expect(slab.position).toBe(length);
  expect(Array.from(slab.rowCounts)).toEqual([live.length, live.length]);
  for (const p of live) {
    for (let layer = 0; layer < shape.layers; layer++) {
      for (let head = 0; head < shape.kvHeads; head++) {
        const original = keyOf(p, layer, head, stream);
        const key = original.slice();
        if (p < sink) rotateKeys(key, original, slab.shift, frequencies);
        const row = rowOf(memory.geometry, p);
        expect(rowAt(memory.keys, memory, place, layer, head, row)).toEqual(Array.from(key));
        expect(rowAt(memory.values, memory, place, layer, head, row)).toEqual(Array.from(original, (x) => -x));
      }
    }
  }
}

function append(memory: SlabMemory, slab: Slab, place: number, tokens: number, stream: number): void {
  for (let left = tokens; left > 0; ) {
    const take = chunkLength(memory.geometry, slab.position, left);
    memory.prepare(slab, place);
    expect(slab.shift).toBe(sinkShift(memory.geometry, slab.position));
    write(memory, place, slab.position, take, stream);
    memory.commit(slab, place, take);
    left -= take;
  }
}

describe("slab memory", () => {
  test("after any appends to several slabs, each holds exactly the rows the definition says, counted from memory", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 9 }),
        fc.integer({ min: 1, max: 70 }),
        fc.array(fc.record({ place: fc.integer({ min: 0, max: 2 }), tokens: fc.integer({ min: 1, max: 90 }) }), {
          minLength: 1,
          maxLength: 12,
        }),
        (sink, window, appends) => {
          const memory = new SlabMemory(geometry(sink, window), shape, 3, frequencies);
          const slabs = [0, 1, 2].map((place) => memory.create(place));
          const lengths = [0, 0, 0];
          for (const { place, tokens } of appends) {
            const slab = slabs[place];
            if (!slab) throw new Error("no slab");
            append(memory, slab, place, tokens, place);
            lengths[place] = (lengths[place] ?? 0) + tokens;
            slabs.forEach((other, i) => {
              memory.recount(other, i);
              expectHolds(memory, other, i, lengths[i] ?? 0, i);
            });
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  test("swapping two places carries their contents over", () => {
    const memory = new SlabMemory(geometry(2, 8), shape, 2, frequencies);
    const [a, b] = [memory.create(0), memory.create(1)];
    append(memory, a, 0, 50, 0);
    append(memory, b, 1, 7, 1);
    memory.swap(0, 1);
    memory.recount(a, 1);
    memory.recount(b, 0);
    expectHolds(memory, a, 1, 50, 0);
    expectHolds(memory, b, 0, 7, 1);
  });

  test("a damaged row is missing from the count of its layer, also after the sinks have moved", () => {
    const memory = new SlabMemory(geometry(2, 8), shape, 1, frequencies);
    const slab = memory.create(0);
    append(memory, slab, 0, 2, 0);
    memory.damage(slab, 0);
    memory.recount(slab, 0);
    expect(Array.from(slab.rowCounts)).toEqual([2, 1]);
    append(memory, slab, 0, 100, 0);
    expect(Array.from(slab.rowCounts)).toEqual([10, 9]);
  });

  test("what a step wrote for a position outside the history can be erased", () => {
    const memory = new SlabMemory(geometry(2, 8), shape, 1, frequencies);
    const slab = memory.create(0);
    write(memory, 0, 0, 2, 0);
    memory.commit(slab, 0, 1);
    memory.eraseFuture(0, 1);
    memory.recount(slab, 0);
    expect(Array.from(slab.rowCounts)).toEqual([1, 1]);
  });

  test("a place that is used again starts empty", () => {
    const memory = new SlabMemory(geometry(2, 8), shape, 1, frequencies);
    append(memory, memory.create(0), 0, 40, 0);
    const slab = memory.create(0);
    memory.recount(slab, 0);
    expect(Array.from(slab.rowCounts)).toEqual([0, 0]);
  });

  test("sizes are the shape's: bytes a token, and a slab's with the sinks' originals", () => {
    const memory = new SlabMemory(geometry(4, 64), shape, 1, frequencies);
    expect(memory.bytesPerToken).toBe(2 * 2 * 4 * 4 * 2);
    expect(memory.slabBytes).toBe(100 * memory.bytesPerToken + 2 * 2 * 4 * 4 * 4);
    const allocated = [...memory.keys, ...memory.values].reduce((sum, a) => sum + a.byteLength, 0);
    expect(memory.slabBytes).toBe(allocated + memory.create(0).sinkKeys.byteLength);
  });
});
