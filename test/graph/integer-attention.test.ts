/**
 * What a cache of 8 bits may change in attention, derived and held against the graph's own nodes.
 *
 * One query q over keys k_j and values v_j, all of d numbers: z_j = q.k_j / sqrt(d), p = softmax(z), o = sum p_j v_j.
 * A row x is stored as codes times its step s = max|x| / 127, so each of its numbers is wrong by at most h s, where
 * h = 1/2 and a little for float32's own rounding on the way.
 *
 * 1. Scores. q'.k' - q.k = q'.(k' - k) + (q' - q).k, so z_j is wrong by at most
 *    e_j = h (s_k |q'|_1 + s_q |k_j|_1) / sqrt(d), where |q'|_1 <= |q|_1 + d h s_q. The integer products add nothing.
 * 2. Softmax. With N = ln(sum p_i exp(e_i)), the sum of exponentials changes by a factor of at most exp(N), and of at
 *    least exp(-N), since (sum p exp(e)) (sum p exp(-e)) >= 1. So p_j is wrong by at most p_j (exp(e_j + N) - 1).
 * 3. Values. The weight w_j = p'_j s_v is rounded to 1 / 255 of W / 255, where W is the largest w_j, and multiplies a code
 *    of at most 127. So o is wrong by at most the sum over j of
 *    p_j (exp(e_j + N) - 1) (|v_j| + h s_v) + p_j h s_v + 127 h W / (255 * 255).
 *
 * How far it should be wrong follows from roundings that are independent and spread evenly over their steps (variance
 * s^2 / 12), to the first order: the variance of o is the sum of
 * p_j^2 (v_j - o)^2 s_k^2 |q|^2 / 12 d over j, |sum p_j (v_j - o) k_j|^2 s_q^2 / 12 d, and p_j^2 s_v^2 / 12 over j.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readConfig } from "../../src/checkpoint/config.ts";
import { namedTensors } from "../../src/engine/step-operands.ts";
import { attendIntegers } from "../../src/graph/integer-attention.ts";
import { Layer } from "../../src/graph/layer.ts";
import { GraphWriter } from "../../src/graph/onnx.ts";
import {
  cacheInputs,
  elementsOf,
  type GraphValue,
  newRows,
  openSizes,
  tokenInputs,
} from "../../src/graph/signature.ts";
import { WeightLayout } from "../../src/graph/weight-layout.ts";
import { block } from "../../src/kv/geometry.ts";
import { InferenceSession, Tensor } from "../../src/ort/index.ts";
import { heavyTailed, randomValues } from "../../tools/random-values.ts";
import { modelDir } from "../engine/models.ts";
import { testSeed } from "../seed.ts";

const headDim = 64;
const kvHeads = 2;
const group = 2;
const config = { ...readConfig(modelDir("kakeya-tiny")), layers: 1, heads: group * kvHeads, kvHeads, headDim };
const ringRows = 3 * block;
const tokens = 8;
const half = 0.5 + 1e-4;

let session: InferenceSession;

beforeAll(async () => {
  const writer = new GraphWriter();
  const weights = new WeightLayout(writer, new Map(), undefined, () => new Float32Array());
  const inputs = tokenInputs(config, openSizes);
  const layer = new Layer({ config, kv: "q8", device: "cpu", writer, weights, inputs }, 0);
  for (const input of [inputs.slots, inputs.mask, inputs.parts]) writer.input(input);
  for (const [name, rows] of [["query", "gT"] as const, ["key", "T"] as const, ["value", "T"] as const]) {
    writer.input({ name, dtype: "float32", shape: ["n", kvHeads, rows, headDim] });
  }
  const attended = attendIntegers(layer, "query", { key: "key", value: "value" });
  writer.output({ name: attended, dtype: "float32", shape: ["n", kvHeads, "gT", headDim] });
  session = await InferenceSession.create(writer.finish(), { graphOptimizationLevel: "disabled" });
});

afterAll(() => session.release());

/** Numbers of one kind of row, [kvHeads, rows, headDim]. */
type Rows = { of: Float32Array; rows: number };
const rowOf = ({ of, rows }: Rows, head: number, row: number) =>
  of.subarray((head * rows + row) * headDim, (head * rows + row + 1) * headDim);

/** A ring in 8 bits, [kvHeads, headDim, ringRows] and [kvHeads, ringRows, headDim], filled by what the graph stores. */
class Ring {
  readonly sizes = { n: 1, ringRows, block };
  readonly keys = new Int8Array(kvHeads * headDim * ringRows);
  readonly keyScales = new Float32Array(kvHeads * ringRows);
  readonly values = new Int8Array(kvHeads * ringRows * headDim);
  readonly valueScales = new Float32Array(kvHeads * ringRows);

  feeds(): (readonly [GraphValue<number>, Tensor.DataType])[] {
    const [k, v] = (["k", "v"] as const).map((part) => cacheInputs(config, part, 0, this.sizes, "q8"));
    const empty = [new Int8Array(kvHeads * block * headDim), new Float32Array(kvHeads * block)] as const;
    return [[k, this.keys, this.keyScales] as const, [v, this.values, this.valueScales] as const].flatMap(
      ([value, codes, scales]) => {
        if (!value?.ringScales || !value.currentScales) throw new Error("a cache of 8 bits has scales");
        return [
          [value.ring, codes] as const,
          [value.ringScales, scales] as const,
          [value.current, empty[0]] as const,
          [value.currentScales, empty[1]] as const,
        ];
      },
    );
  }
}

/** Runs fresh rows [kvHeads, count, headDim] at the beginning of a block, with queries that see the ring or don't. */
async function attend(ring: Ring, query: Rows, key: Rows, value: Rows, seesRing: boolean) {
  const count = key.rows;
  const sizes = { n: 1, T: count, nT: count, gT: query.rows, rows: ringRows + block };
  const { slots, mask, parts } = tokenInputs(config, sizes);
  const places = Array.from({ length: kvHeads * count }, (_, i) => [0, Math.floor(i / count), i % count]).flat();
  const visible = Float32Array.from({ length: elementsOf(mask) }, (_, i) => {
    const [row, column] = [Math.floor(i / (ringRows + block)), i % (ringRows + block)];
    return (column < ringRows ? seesRing : column - ringRows <= row % count) ? 0 : -Infinity;
  });
  const floats = (name: string, { of, rows }: Rows) => [name, new Tensor("float32", of, [1, kvHeads, rows, headDim])];
  return session.run({
    ...namedTensors([
      [slots, BigInt64Array.from(places, BigInt)],
      [mask, visible],
      [parts, BigInt64Array.of(BigInt(ringRows), BigInt(block))],
      ...ring.feeds(),
    ]),
    ...Object.fromEntries([floats("query", query), floats("key", key), floats("value", value)]),
  });
}

/** Puts a block of rows into the ring from `at` on. */
async function store(ring: Ring, at: number, key: Rows, value: Rows): Promise<void> {
  const query = { of: new Float32Array(kvHeads * block * headDim).fill(1), rows: block };
  const stored = await attend(ring, query, key, value, false);
  const sizes = { n: 1, T: block };
  const dataOf = (part: "k" | "v", of: "rows" | "scales") =>
    stored[newRows(config, part, 0, sizes, "q8")[of]?.name ?? ""]?.data as Int8Array | Float32Array;
  for (let head = 0; head < kvHeads; head++) {
    for (let row = 0; row < block; row++) {
      const from = head * block + row;
      const to = head * ringRows + at + row;
      ring.keyScales[to] = dataOf("k", "scales")[from] ?? 0;
      ring.valueScales[to] = dataOf("v", "scales")[from] ?? 0;
      for (let i = 0; i < headDim; i++) {
        ring.keys[(head * headDim + i) * ringRows + at + row] = dataOf("k", "rows")[from * headDim + i] ?? 0;
        ring.values[to * headDim + i] = dataOf("v", "rows")[from * headDim + i] ?? 0;
      }
    }
  }
}

const dot = (a: ArrayLike<number>, b: ArrayLike<number>) => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum;
};
const magnitudes = (row: Float32Array) => row.reduce((sum, x) => sum + Math.abs(x), 0);
const stepOf = (row: Float32Array) => row.reduce((most, x) => Math.max(most, Math.abs(x)), 0) / 127;

/** One query's attention in float64, how far 8 bits may be from it, and the variance with which they should be. */
function exactly(q: Float32Array, keys: Float32Array[], values: Float32Array[]) {
  const root = Math.sqrt(headDim);
  const scores = keys.map((k) => dot(q, k) / root);
  const most = Math.max(...scores);
  const sum = scores.reduce((all, z) => all + Math.exp(z - most), 0);
  const p = scores.map((z) => Math.exp(z - most) / sum);
  const outputs = Array.from({ length: headDim }, (_, i) =>
    dot(
      p,
      values.map((v) => v[i] ?? 0),
    ),
  );

  const stepQ = stepOf(q);
  const wide = magnitudes(q) + headDim * half * stepQ;
  const e = keys.map((k) => (half * (stepOf(k) * wide + stepQ * magnitudes(k))) / root + 1e-5);
  const N = Math.log(p.reduce((all, pj, j) => all + pj * Math.exp(e[j] ?? 0), 0));
  const factor = e.map((ej) => Math.exp(ej + N));
  const steps = values.map(stepOf);
  const W = Math.max(...p.map((pj, j) => pj * (factor[j] ?? 0) * (steps[j] ?? 0)));
  return outputs.map((output, i) => {
    let bound = 1e-6;
    let variance = 0;
    const slope = new Float64Array(headDim);
    for (const [j, pj] of p.entries()) {
      const [v, s, k] = [values[j]?.[i] ?? 0, steps[j] ?? 0, keys[j] ?? new Float32Array(headDim)];
      bound += pj * ((factor[j] ?? 0) - 1) * (Math.abs(v) + half * s) + pj * half * s + (127 * half * W) / (255 * 255);
      variance += (pj * (v - output)) ** 2 * stepOf(k) ** 2 * (dot(q, q) / headDim) + (pj * s) ** 2;
      for (let l = 0; l < headDim; l++) slope[l] = (slope[l] ?? 0) + pj * (v - output) * (k[l] ?? 0);
    }
    variance += (stepQ ** 2 * dot(slope, slope)) / headDim;
    return { output, bound, variance: variance / 12 };
  });
}

test.each([
  ["normal", (seed: number) => randomValues(seed, 0, 1)],
  ["heavy-tailed", heavyTailed],
  // Some channels of all keys are large, as Qwen2's biases make them.
  ["heavy-tailed with outlier channels", heavyTailed],
] as const)(
  "rows of 8 bits change attention by no more than is derived, and by as much as is expected: %s",
  async (kind, source) => {
    const random = source(testSeed);
    const rowsOf = (rows: number): Rows => ({ of: random(kvHeads * rows * headDim), rows });
    const all = ringRows + tokens;
    const [query, key, value] = [rowsOf(group * tokens), rowsOf(all), rowsOf(all)];
    if (kind.endsWith("channels")) for (let i = 0; i < key.of.length; i += 16) key.of[i] = 20 + (key.of[i] ?? 0);
    const part = ({ of }: Rows, from: number, rows: number): Rows => ({
      of: Float32Array.from({ length: kvHeads * rows * headDim }, (_, i) => {
        const head = Math.floor(i / (rows * headDim));
        return of[head * all * headDim + from * headDim + (i % (rows * headDim))] ?? 0;
      }),
      rows,
    });
    const ring = new Ring();
    for (let at = 0; at < ringRows; at += block) await store(ring, at, part(key, at, block), part(value, at, block));
    const ran = await attend(ring, query, part(key, ringRows, tokens), part(value, ringRows, tokens), true);
    const got = ran["0.attended.folded"]?.data as Float32Array;

    let square = 0;
    let expected = 0;
    for (let head = 0; head < kvHeads; head++) {
      for (let row = 0; row < query.rows; row++) {
        const seen = Array.from({ length: ringRows + (row % tokens) + 1 }, (_, j) => j);
        const own = (rows: Rows) => seen.map((j) => rowOf(rows, head, j));
        for (const [i, { output, bound, variance }] of exactly(
          rowOf(query, head, row),
          own(key),
          own(value),
        ).entries()) {
          const error = Math.abs((got[(head * query.rows + row) * headDim + i] ?? Number.NaN) - output);
          if (!(error <= bound))
            throw new Error(`head ${head}, row ${row}, number ${i}: ${error} is more than ${bound}`);
          square += error ** 2;
          expected += variance;
        }
      }
    }
    const ratio = Math.sqrt(square / expected);
    expect(ratio).toBeGreaterThan(0.6);
    expect(ratio).toBeLessThan(1.5);
  },
);
