import type { Layer } from "./layer.ts";
import { cacheInputs, newRows, openSizes } from "./signature.ts";

/** The codes and scales of the keys or the values that a query may see. */
interface Seen {
  ring: string;
  ringScales: string;
  /** The current block, with the step's new rows in it; [n, kvHeads, block, headDim] and [n, kvHeads, 1, block]. */
  block: string;
  blockScales: string;
}

/** What a row of nothing but smaller numbers counts as its largest; one can divide by it. */
const leastMagnitude = 1e-25;

/**
 * Attention over rows of 8 bits with integer products, whose sums are exact in any order: from queries
 * [n, kvHeads, gT, headDim] and the step's keys and values to the sum of all values, each as much as it counts.
 *
 * A row of keys, values or queries is quantized by itself: its numbers are codes of -127 to 127 times its scale. The
 * weights of the values, softmax times the values' scales, take 16 bits in two planes of 8, so that many small ones
 * beside one large one are not all rounded to zero: the high plane counts whole steps of 1/255 of the query's largest
 * weight, the low one what is left in steps of 1/255 of these.
 */
export function attendIntegers(layer: Layer, query: string, fresh: { key: string; value: string }): string {
  const keys = declareCache(layer, "k", fresh.key);
  const values = declareCache(layer, "v", fresh.value);
  return mix(layer, weigh(layer, query, keys, values), values);
}

/** Quantizes the new rows, declares the layer's part of the cache, and puts the rows into a copy of the current block. */
function declareCache(layer: Layer, part: "k" | "v", fresh: string): Seen {
  const { config, kv, writer, inputs } = layer.decoder;
  const { ring, ringScales, current, currentScales } = cacheInputs(config, part, layer.index, openSizes, kv);
  const { rows, scales } = newRows(config, part, layer.index, openSizes, kv);
  if (!ringScales || !currentScales || !scales) throw new Error(`a cache of ${kv} rows has no scales`);
  for (const input of [ring, ringScales, current, currentScales]) writer.input(input);
  for (const output of [rows, scales]) writer.output(output);

  const at = (value: string) => layer.at(`${part}.${value}`);
  const { unit, largest } = unitRows(layer, fresh, `${part}.new`);
  writer.node("QuantizeLinear", [unit, writer.scalar("float32", 1 / 127), writer.scalar("int8", 0)], rows.name);
  writer.node("Mul", [largest, writer.scalar("float32", 1 / 127)], at("new.scale"));
  writer.node("Squeeze", [at("new.scale"), writer.int64([3])], scales.name);
  const block = writer.node("ScatterND", [current.name, inputs.slots.name, rows.name], at("block"));
  writer.node("ScatterND", [currentScales.name, inputs.slots.name, scales.name], at("block.scale"));
  const blockScales = writer.node("Unsqueeze", [at("block.scale"), writer.int64([2])], at("block.scales"));
  return { ring: ring.name, ringScales: ringScales.name, block, blockScales };
}

/** What each value counts for each query: softmax(query keys^T / sqrt(headDim) + mask) times the value's scale. */
function weigh(layer: Layer, query: string, keys: Seen, values: Seen): string {
  const { config, writer, inputs } = layer.decoder;
  const { unit, largest } = unitRows(layer, query, "query");
  const middle = writer.scalar("uint8", 128);
  const codes = writer.node(
    "QuantizeLinear",
    [unit, writer.scalar("float32", 1 / 127), middle],
    layer.at("query.codes"),
  );
  const scale = writer.scalar("float32", config.headDim ** -0.5 / 127);
  const scales = writer.node("Mul", [largest, scale], layer.at("query.scales"));
  const blockKeys = writer.node("Transpose", [keys.block], layer.at("k.block.columns"), {
    perm: { ints: [0, 1, 3, 2] },
  });
  const scores = (of: string, ofScales: string, out: string) =>
    writer.node("MatMulIntegerToFloat", [codes, of, scales, ofScales, middle], layer.at(out));
  const both = [scores(keys.ring, keys.ringScales, "scores.ring"), scores(blockKeys, keys.blockScales, "scores.block")];
  const all = writer.node("Concat", both, layer.at("scores"), { axis: { int: -1 } });
  const masked = writer.node("Add", [all, inputs.mask.name], layer.at("masked"));
  const attention = writer.node("Softmax", [masked], layer.at("attention"), { axis: { int: -1 } });
  const valueScales = [values.ringScales, values.blockScales];
  const ofAll = writer.node("Concat", valueScales, layer.at("value.scales"), { axis: { int: -1 } });
  return writer.node("Mul", [attention, ofAll], layer.at("weights"));
}

/**
 * The sum of all values' codes, each as much as it counts: [n, kvHeads, gT, headDim]. The two planes are rows of one
 * product, because its kernel packs the values anew for each: with few rows that is most of its time.
 */
function mix(layer: Layer, weights: string, values: Seen): string {
  const { writer, inputs } = layer.decoder;
  const one = writer.scalar("float32", 1);
  const fraction = writer.scalar("float32", 1 / 255);
  const largest = rowMaximum(layer, weights, "weights.largest");
  const highStep = writer.node("Mul", [largest, fraction], layer.at("high.step"));
  const lowStep = writer.node("Mul", [highStep, fraction], layer.at("low.step"));
  const steps = writer.node("Div", [weights, highStep], layer.at("weights.steps"));
  const high = writer.node("Floor", [steps], layer.at("high"));
  const rest = writer.node("Sub", [steps, high], layer.at("rest"));
  const low = writer.node("Mul", [rest, writer.scalar("float32", 255)], layer.at("low"));
  const both = (planes: string[], out: string) => writer.node("Concat", planes, layer.at(out), { axis: { int: 2 } });
  const zero = writer.scalar("uint8", 0);
  const codes = writer.node("QuantizeLinear", [both([high, low], "planes"), one, zero], layer.at("planes.codes"));
  const scales = both([highStep, lowStep], "planes.steps");
  const parts = { ring: layer.at("planes.ring"), block: layer.at("planes.block") };
  writer.nodes("Split", [codes, inputs.parts.name], [parts.ring, parts.block], { axis: { int: -1 } });
  const sums = (["ring", "block"] as const).map((part) =>
    writer.node("MatMulIntegerToFloat", [parts[part], values[part], scales, one], layer.at(`attended.${part}`)),
  );
  const attended = [layer.at("attended.high"), layer.at("attended.low")];
  writer.nodes("Split", [writer.node("Add", sums, layer.at("attended.planes"))], attended, { axis: { int: 2 } });
  return writer.node("Add", attended, layer.at("attended.folded"));
}

/** Rows divided by their largest magnitude. */
function unitRows(layer: Layer, rows: string, name: string): { unit: string; largest: string } {
  const { writer } = layer.decoder;
  const magnitudes = writer.node("Abs", [rows], layer.at(`${name}.magnitude`));
  const largest = rowMaximum(layer, magnitudes, `${name}.largest`);
  return { unit: writer.node("Div", [rows, largest], layer.at(`${name}.unit`)), largest };
}

/** The largest number of each row, kept as a dimension of 1. */
function rowMaximum(layer: Layer, rows: string, name: string): string {
  const { writer } = layer.decoder;
  const found = writer.node("ReduceMax", [rows], layer.at(`${name}.found`), {
    axes: { ints: [-1] },
    keepdims: { int: 1 },
  });
  return writer.node("Max", [found, writer.scalar("float32", leastMagnitude)], layer.at(name));
}
