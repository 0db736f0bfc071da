import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { block, blockStart, chunkLength, geometry, ringRowOf, sinkShift } from "../../src/kv/geometry.ts";
import { rotateKeys, rotationBy } from "../../src/kv/rotary.ts";
import type { LayerRows } from "../../src/kv/rows.ts";
import { type ChunkRows, type Slab, SlabMemory } from "../../src/kv/slab.ts";

const shape = { layers: 2, kvHeads: 2, headDim: 4 };
const frequencies = Float64Array.of(1, 0.1);

/** What the model would compute for one token: a key and a value of every layer and head, told apart by their content. */
function keyOf(position: number, layer: number, head: number, stream: number): Float32Array {
  return Float32Array.from(
    { length: shape.headDim },
    (_, i) => 1 + stream * 1000 + position + layer / 4 + head / 8 + i / 64,
  );
}

/** A chunk's rows as a step gives them: of two sessions and with a token more than belongs to the history. */
function computed(position: number, count: number, stream: number): ChunkRows {
  const { layers, kvHeads, headDim } = shape;
  const [n, index, tokens] = [2, 1, count + 1];
  const keys = Array.from({ length: layers }, (_, layer) => {
    const rows = new Float32Array(n * kvHeads * tokens * headDim).fill(-1);
    for (let head = 0; head < kvHeads; head++) {
      for (let t = 0; t < count; t++) {
        rows.set(keyOf(position + t, layer, head, stream), ((index * kvHeads + head) * tokens + t) * headDim);
      }
    }
    return rows;
  });
  return { keys, values: keys.map((rows) => rows.map((x) => -x)), tokens, index, count };
}

function rowAt(
  layers: readonly LayerRows[],
  memory: SlabMemory,
  place: number,
  layer: number,
  head: number,
  p: number,
  length: number,
): number[] {
  const start = blockStart(memory.geometry, length);
  const inRing = p < start;
  const rows = inRing ? memory.geometry.ringRows : block;
  const row = inRing ? ringRowOf(memory.geometry, p) : p - start;
  const at = ((place * shape.kvHeads + head) * rows + row) * shape.headDim;
  const part = inRing ? layers[layer]?.ring : layers[layer]?.current;
  return Array.from(part?.subarray(at, at + shape.headDim) ?? []);
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
        if (p < sink) rotateKeys(key, original, rotationBy(slab.shift, frequencies));
        expect(rowAt(memory.keys, memory, place, layer, head, p, length)).toEqual(Array.from(key));
        expect(rowAt(memory.values, memory, place, layer, head, p, length)).toEqual(Array.from(original, (x) => -x));
      }
    }
  }
}

function append(memory: SlabMemory, slab: Slab, place: number, tokens: number, stream: number): void {
  for (let left = tokens; left > 0; ) {
    const take = chunkLength(memory.geometry, slab.position, left);
    memory.prepare(slab, place);
    expect(slab.shift).toBe(sinkShift(memory.geometry, slab.position));
    memory.commit(slab, place, computed(slab.position, take, stream));
    left -= take;
  }
}

describe("slab memory", () => {
  test("after any appends to several slabs, each holds exactly the rows the definition says, counted from memory", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 70 }),
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
    const parts = [...memory.keys, ...memory.values].flatMap(({ ring, current }) => [ring, current]);
    const allocated = parts.reduce((sum, a) => sum + a.byteLength, 0);
    expect(memory.slabBytes).toBe(allocated + memory.create(0).sinkKeys.byteLength);
  });
});
