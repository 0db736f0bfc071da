import { attendIntegers } from "./integer-attention.ts";
import { type Layer, norm } from "./layer.ts";
import { attentionRows, cacheInputs, newRows, openSizes } from "./signature.ts";

/** The keys or the values that a query may see, each [n, kvHeads, rows, headDim]. */
interface Seen {
  ring: string;
  /** The current block, with the step's new rows in it. */
  block: string;
}

/** Attention over the cache and the step's own tokens, from x [n, T, hidden] to [n, T, hidden]. */
export function attend(layer: Layer, x: string): string {
  const { query, ...fresh } = projectHeads(layer, x);
  const folded = foldGroups(layer, query);
  const attended = layer.decoder.kv === "f32" ? attendFloats(layer, folded) : attendIntegers(layer, folded, fresh);
  return layer.linear(unfoldGroups(layer, attended), "o", ["self_attn.o_proj"]);
}

function attendFloats(layer: Layer, query: string): string {
  const keys = declareCache(layer, "k");
  const values = declareCache(layer, "v");
  return mix(layer, weigh(layer, query, keys), values);
}

/** Queries [n, heads, T, headDim] and keys [n, kvHeads, T, headDim], rotated to their positions, and values. */
function projectHeads(layer: Layer, x: string): Record<"query" | "key" | "value", string> {
  const { config, kv, writer, inputs } = layer.decoder;
  const { heads, kvHeads, headDim } = config;
  const projected = layer.linear(x, "qkv", ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]);
  const byToken = writer.node(
    "Reshape",
    [projected, writer.int64([0, 0, heads + 2 * kvHeads, headDim])],
    layer.at("qkv.heads"),
  );
  const byHead = writer.node("Transpose", [byToken], layer.at("qkv.byhead"), { perm: { ints: [0, 2, 1, 3] } });
  // Rows of floats are the new rows as they are.
  const key = kv === "f32" ? newRowsOf(layer, "k").name : layer.at("k.rope");
  const value = kv === "f32" ? newRowsOf(layer, "v").name : layer.at("v");
  const split = [layer.at("q"), layer.at("k"), value];
  writer.nodes("Split", [byHead, writer.int64([heads, kvHeads, kvHeads])], split, { axis: { int: 1 } });

  const rotate = (part: "q" | "k", count: number, out: string): string => {
    const weight = layer.named(`self_attn.${part}_norm.weight`);
    const input = config.qkNorm
      ? norm(layer.decoder, layer.at(part), weight, layer.at(`${part}.norm`))
      : layer.at(part);
    const { ropeRows, cos, sin } = inputs;
    return writer.node("RotaryEmbedding", [input, ropeRows.name, cos.name, sin.name], out, {
      num_heads: { int: count },
    });
  };
  const query = rotate("q", heads, layer.at("q.rope"));
  rotate("k", kvHeads, key);
  return { query, key, value };
}

/** Declares the layer's part of the cache and its new rows, and puts these into a copy of the current block. */
function declareCache(layer: Layer, part: "k" | "v"): Seen {
  const { config, kv, device, writer, inputs } = layer.decoder;
  const { ring, current } = cacheInputs(config, part, layer.index, openSizes, kv, device);
  const fresh = newRowsOf(layer, part);
  writer.input(ring);
  writer.input(current);
  writer.output(fresh);
  const scattered = [current.name, inputs.slots.name, fresh.name];
  return { ring: ring.name, block: writer.node("ScatterND", scattered, `${part}.block.${layer.index}`) };
}

function newRowsOf({ decoder, index }: Layer, part: "k" | "v") {
  return newRows(decoder.config, part, index, openSizes, decoder.kv).rows;
}

/** The query heads of a group become rows of one product: [n, kvHeads, gT, headDim]. */
function foldGroups(layer: Layer, query: string): string {
  const { config, writer } = layer.decoder;
  const { kvHeads, headDim } = config;
  const rows =
    attentionRows(config).repeat === 1
      ? query
      : writer.node("Concat", [query, query], layer.at("q.twice"), { axis: { int: 2 } });
  return writer.node("Reshape", [rows, writer.int64([0, kvHeads, -1, headDim])], layer.at("q.folded"));
}

/** How much each row counts for each query: softmax(query keys^T / sqrt(headDim) + mask), split into ring and block. */
function weigh(layer: Layer, query: string, keys: Seen): Seen {
  const { device, writer, inputs } = layer.decoder;
  const both = device === "cpu" ? scoresOfRows(layer, query, keys) : scoresOfColumns(layer, query, keys);
  const all = writer.node("Concat", both, layer.at("scores"), { axis: { int: -1 } });
  const masked = writer.node("Add", [all, inputs.mask.name], layer.at("masked"));
  const attention = writer.node("Softmax", [masked], layer.at("attention"), { axis: { int: -1 } });
  const parted = { ring: layer.at("attention.ring"), block: layer.at("attention.block") };
  writer.nodes("Split", [attention, inputs.parts.name], [parted.ring, parted.block], { axis: { int: -1 } });
  return parted;
}

/** query keys^T / sqrt(headDim), of the ring and of the block, whose keys lie in rows. */
function scoresOfRows(layer: Layer, query: string, keys: Seen): string[] {
  const { config, writer } = layer.decoder;
  const scores = (seen: string, out: string) =>
    writer.node("FusedMatMul", [query, seen], layer.at(out), { transB: { int: 1 }, alpha: config.headDim ** -0.5 });
  return [scores(keys.ring, "scores.ring"), scores(keys.block, "scores.block")];
}

/** The same where the ring's keys lie in columns: FusedMatMul has no WebGPU kernel, and would run on the processor. */
function scoresOfColumns(layer: Layer, query: string, keys: Seen): string[] {
  const { config, writer } = layer.decoder;
  const scale = writer.scalar("float32", config.headDim ** -0.5);
  const scaled = writer.node("Mul", [query, scale], layer.at("q.scaled"));
  const columns = { perm: { ints: [0, 1, 3, 2] } };
  const block = writer.node("Transpose", [keys.block], layer.at("k.block.columns"), columns);
  const scores = (seen: string, out: string) => writer.node("MatMul", [scaled, seen], layer.at(out));
  return [scores(keys.ring, "scores.ring"), scores(block, "scores.block")];
}

/** The weighted sum of all values: [n, kvHeads, gT, headDim]. */
function mix(layer: Layer, weights: Seen, values: Seen): string {
  const { writer } = layer.decoder;
  const ring = writer.node("MatMul", [weights.ring, values.ring], layer.at("attended.ring"));
  const block = writer.node("MatMul", [weights.block, values.block], layer.at("attended.block"));
  return writer.node("Add", [ring, block], layer.at("attended.folded"));
}

/** From rows of groups back to [n, T, heads * headDim]. */
function unfoldGroups(layer: Layer, folded: string): string {
  const { config, writer } = layer.decoder;
  const { heads, headDim } = config;
  let rows = folded;
  if (attentionRows(config).repeat > 1) {
    rows = layer.at("attended.once");
    writer.nodes("Split", [folded], [rows, layer.at("attended.again")], { axis: { int: 2 } });
  }
  const byHead = writer.node("Reshape", [rows, writer.int64([0, heads, -1, headDim])], layer.at("attended.byhead"));
  const byToken = writer.node("Transpose", [byHead], layer.at("attended.bytoken"), { perm: { ints: [0, 2, 1, 3] } });
  return writer.node("Reshape", [byToken, writer.int64([0, 0, heads * headDim])], layer.at("attended"));
}
