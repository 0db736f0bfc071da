import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { blockStart, chunkLength, geometry, ringRowOf, sinkShift } from "../../src/kv/geometry.ts";
import { type Rotation, rotateKeys, rotationBy } from "../../src/kv/rotary.ts";
import type { RowShape } from "../../src/kv/rows.ts";
import { type ChunkRows, Slab } from "../../src/kv/slab.ts";
import { type Layer, SlabMemory } from "../../src/kv/slab-memory.ts";

const size = { layers: 2, kvHeads: 2, headDim: 4 };
const shapes = (["float32", "int8"] as const).map((numbers) => ({ ...size, numbers }));
const frequencies = Float64Array.of(1, 0.1);
const still = rotationBy(0, frequencies);

/** What the model would compute for one token: a key and a value of every layer and head, told apart by their content. */
function keyOf(position: number, layer: number, head: number, stream: number): Float32Array {
  return Float32Array.from(
    { length: size.headDim },
    (_, i) => 1 + stream * 1000 + position + layer / 4 + head / 8 + i / 64,
  );
}

/** A chunk's rows as a step gives them: of two sessions and with a token more than belongs to the history. */
function computed({ numbers }: RowShape, position: number, count: number, stream: number): ChunkRows {
  const { layers, kvHeads, headDim } = size;
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
  const values = keys.map((rows) => rows.map((x) => -x));
  const stored = (rows: Float32Array) => (numbers === "int8" ? quantized(rows) : rows);
  return { keys: keys.map(stored), values: values.map(stored), tokens, index, count };
}

/** Rows in 8 bits: each by its largest magnitude. */
function quantized(rows: Float32Array): { codes: Int8Array; scales: Float32Array } {
  const { headDim } = size;
  const codes = new Int8Array(rows.length);
  const scales = new Float32Array(rows.length / headDim);
  for (let row = 0; row < scales.length; row++) {
    const numbers = rows.subarray(row * headDim, (row + 1) * headDim);
    const largest = Math.max(...numbers.map(Math.abs));
    scales[row] = largest / 127;
    numbers.forEach((number, i) => {
      codes[row * headDim + i] = Math.round((number / largest) * 127);
    });
  }
  return { codes, scales };
}

/** What a slab holds of a row, bit by bit; `rotation` is that of the sinks' keys. */
function storedBits({ numbers }: RowShape, original: Float32Array, rotation: Rotation): Uint32Array {
  const rotated = original.slice();
  if (numbers !== "int8") {
    rotateKeys(rotated, original, rotation);
    return new Uint32Array(rotated.buffer);
  }
  let { codes, scales } = quantized(original);
  if (rotation.distance > 0) {
    const cached = Float32Array.from(codes, (code) => code * (scales[0] ?? 0));
    rotateKeys(rotated, cached, rotation);
    ({ codes, scales } = quantized(rotated));
  }
  return new Uint32Array(Buffer.concat([new Uint8Array(codes.buffer), new Uint8Array(scales.buffer)]).buffer.slice(0));
}

/** The row of position p in a slab that holds `length` tokens. */
function rowAt(memory: SlabMemory, slab: Slab, part: keyof Layer, layer: number, head: number, p: number): Uint32Array {
  const start = blockStart(memory.geometry, slab.position);
  const place = p < start ? { inRing: true, row: ringRowOf(memory.geometry, p) } : { inRing: false, row: p - start };
  const words = memory.layers[layer]?.[part].readRow(slab.place, head, place) ?? new Float32Array();
  return new Uint32Array(words.slice().buffer);
}

/** The trivial model: the list of all positions, filtered by the definition of what stays. */
function expectHolds(memory: SlabMemory, slab: Slab, stream: number): void {
  const { sink, window } = memory.geometry;
  const length = slab.position;
  const history = Array.from({ length }, (_, p) => p);
  const live = history.filter((p) => p < sink || p >= Math.max(sink, length - window));
  expect(Array.from(slab.rowCounts)).toEqual([live.length, live.length]);
  const rotation = rotationBy(length === 0 ? 0 : sinkShift(memory.geometry, length - 1), frequencies);
  for (const p of live) {
    for (let layer = 0; layer < size.layers; layer++) {
      for (let head = 0; head < size.kvHeads; head++) {
        const original = keyOf(p, layer, head, stream);
        const value = original.map((x) => -x);
        const key = storedBits(memory.shape, original, p < sink ? rotation : still);
        expect(rowAt(memory, slab, "key", layer, head, p)).toEqual(key);
        expect(rowAt(memory, slab, "value", layer, head, p)).toEqual(storedBits(memory.shape, value, still));
      }
    }
  }
}

function append(memory: SlabMemory, slab: Slab, tokens: number, stream: number): void {
  for (let left = tokens; left > 0; ) {
    const take = chunkLength(memory.geometry, slab.position, left);
    slab.prepare();
    slab.commit(computed(memory.shape, slab.position, take, stream));
    left -= take;
  }
}

const appends = fc.array(
  fc.record({ place: fc.integer({ min: 0, max: 2 }), tokens: fc.integer({ min: 1, max: 90 }) }),
  {
    minLength: 1,
    maxLength: 12,
  },
);
const sinks = fc.integer({ min: 0, max: 70 });
const windows = fc.integer({ min: 1, max: 70 });

describe.each(shapes)("a slab of %o", (shape) => {
  test("after any appends to several, each holds exactly the rows the definition says, counted from memory", () => {
    fc.assert(
      fc.property(sinks, windows, appends, (sink, window, steps) => {
        const memory = new SlabMemory(geometry(sink, window), shape, 3, frequencies);
        const slabs = [0, 1, 2].map((place) => new Slab(memory, place));
        const lengths = [0, 0, 0];
        for (const { place, tokens } of steps) {
          append(memory, slabs[place] as Slab, tokens, place);
          lengths[place] = (lengths[place] ?? 0) + tokens;
          for (const [i, slab] of slabs.entries()) {
            slab.recount();
            expect(slab.position).toBe(lengths[i] ?? 0);
            expectHolds(memory, slab, i);
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  test("whatever was appended, a saved one that is loaded elsewhere holds the same and goes on as the first does", () => {
    fc.assert(
      fc.property(sinks, windows, appends, fc.integer({ min: 1, max: 90 }), (sink, window, steps, more) => {
        const memory = new SlabMemory(geometry(sink, window), shape, 3, frequencies);
        const slab = new Slab(memory, 0);
        append(memory, new Slab(memory, 2), 99, 7); // what was there before must not show
        for (const { tokens } of steps) append(memory, slab, tokens, 0);
        const { facts, floats } = slab.save();
        const copy = new Slab(memory, 2);
        copy.load(facts, floats);
        expectHolds(memory, copy, 0);
        for (const one of [slab, copy]) append(memory, one, more, 0);
        expect(copy.save().facts).toEqual(slab.save().facts);
        // Words that hold codes may be NaNs, which are not even equal to themselves.
        const bits = (of: Slab) => new Uint32Array(of.save().floats.buffer);
        expect(bits(copy)).toEqual(bits(slab));
      }),
      { numRuns: 60 },
    );
  });

  test("a saved one whose numbers or size are damaged is refused", () => {
    const memory = new SlabMemory(geometry(2, 8), shape, 1, frequencies);
    const slab = new Slab(memory, 0);
    append(memory, slab, 50, 0);
    const { facts, floats } = slab.save();
    const load = (changed: Partial<typeof facts>, values = floats) =>
      new Slab(memory, 0).load({ ...facts, ...changed }, values);
    expect(() => load({}, floats.subarray(1))).toThrow(`not ${floats.length - 1}`);
    for (const wrong of [-1, 1.5, Number.NaN, 2 ** 60]) {
      expect(() => load({ position: wrong })).toThrow(`position is not ${wrong}`);
      expect(() => load({ shift: wrong })).toThrow(`shift is not ${wrong}`);
    }
    load({});
  });

  test("swapping two places carries their contents over", () => {
    const memory = new SlabMemory(geometry(2, 8), shape, 2, frequencies);
    const [a, b] = [new Slab(memory, 0), new Slab(memory, 1)];
    append(memory, a, 50, 0);
    append(memory, b, 7, 1);
    memory.swap(0, 1);
    [a.place, b.place] = [1, 0];
    a.recount();
    b.recount();
    expectHolds(memory, a, 0);
    expectHolds(memory, b, 1);
  });

  test("a damaged row is missing from the count of its layer, also after the sinks have moved", () => {
    const memory = new SlabMemory(geometry(2, 8), shape, 1, frequencies);
    const slab = new Slab(memory, 0);
    append(memory, slab, 2, 0);
    slab.damage();
    slab.recount();
    expect(Array.from(slab.rowCounts)).toEqual([2, 1]);
    append(memory, slab, 100, 0);
    expect(Array.from(slab.rowCounts)).toEqual([10, 9]);
  });

  test("a place that is used again starts empty", () => {
    const memory = new SlabMemory(geometry(2, 8), shape, 1, frequencies);
    append(memory, new Slab(memory, 0), 40, 0);
    const slab = new Slab(memory, 0);
    slab.recount();
    expect(Array.from(slab.rowCounts)).toEqual([0, 0]);
  });

  test("sizes are the shape's: bytes a token, and a slab's with the sinks' originals", () => {
    const memory = new SlabMemory(geometry(4, 64), shape, 1, frequencies);
    expect(memory.bytesPerToken).toBe(2 * 2 * 2 * (shape.numbers === "int8" ? 4 + 4 : 4 * 4));
    expect(memory.slabBytes).toBe(100 * memory.bytesPerToken + 2 * 2 * 4 * 4 * 4);
    const rows = memory.layers
      .flatMap(({ key, value }) => [key, value])
      .flatMap(({ ring, current, ringScales, currentScales }) => [ring, current, ringScales, currentScales])
      .filter((array) => array !== undefined);
    const sinkKeys = 2 * 2 * 4 * 4 * 4;
    expect(memory.slabBytes).toBe(rows.reduce((sum, array) => sum + array.byteLength, 0) + sinkKeys);
  });
});
