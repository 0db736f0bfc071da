import type { ModelConfig } from "../checkpoint/config.ts";
import { GraphWriter } from "./onnx.ts";
import {
  type BlockFormat,
  blockFormats,
  type Planned,
  type PlannedTensor,
  type Quantization,
  type WeightPlan,
} from "./plan.ts";

/** Gives the vectors of a checkpoint, one after the other. */
export type VectorsOf = (names: readonly string[]) => Float32Array;

/** Changes whenever the same checkpoint would give another graph or weight file. */
export const graphVersion = "4";
export const weightFileName = "weights.bin";

/**
 * A decoder that attends over a slab in place.
 *
 * One step runs T new tokens of each of n sessions, all of a session's in one block. A layer's keys and values lie in
 * the slab's ring [n, kvHeads, ringRows, headDim], which is only read, and its current block [n, kvHeads, block,
 * headDim], which a copy with the new rows at `slots` stands for; the new rows are outputs, and the host writes them.
 * No cache tensor is concatenated or returned: onnxruntime-node copies what a graph returns, so a slab among the outputs
 * would cost its whole size at every token.
 *
 * Operands have fixed shapes, and which rows a query sees is said by `mask` alone. Each key's row depends on the
 * query's position alone, and so do the order of every sum and every bit of the result: not on how the history was cut.
 *
 * inputs: x [n, T, hidden] embeddings; cos, sin [n*T, headDim/2]; rope_rows [n, T], rows of cos and sin;
 * slots [n, kvHeads, T, 3] as (session, head, row of the current block); mask [n, 1, groups*T, ringRows + block], 0 or
 * -inf; parts [2] = (ringRows, block); last [k], the rows of [n*T] whose logits are wanted (may be empty); and of each
 * layer L k.ring.L, v.ring.L, k.current.L, v.current.L.
 * outputs: lm_head.out [k, vocab], the logits; best [k], their argmax; k.new.L and v.new.L [n, kvHeads, T, headDim].
 *
 * `groups` is heads/kvHeads folded into the rows: a MatMul with a single row takes another kernel and gives other
 * bits, so where heads = kvHeads the query is repeated to make two rows (see `attentionRows`).
 */
export function buildGraph(
  config: ModelConfig,
  quantization: Quantization,
  vectors: VectorsOf,
  format = quantization === "f32" ? undefined : blockFormats[quantization],
): { plan: WeightPlan; model: Uint8Array; nodeCount: number } {
  const writer = new GraphWriter();
  const weights = new WeightFile(writer, format, vectors);
  const { heads, kvHeads, headDim, hiddenSize } = config;
  const rows = attentionRows(config);
  const epsilon = config.rmsNormEps;

  writer.input("x", "float32", ["n", "T", hiddenSize]);
  writer.input("cos", "float32", ["nT", headDim / 2]);
  writer.input("sin", "float32", ["nT", headDim / 2]);
  writer.input("rope_rows", "int64", ["n", "T"]);
  writer.input("slots", "int64", ["n", kvHeads, "T", 3]);
  writer.input("mask", "float32", ["n", 1, "gT", "rows"]);
  writer.input("parts", "int64", [2]);
  writer.input("last", "int64", ["k"]);

  const norm = (name: string) => weights.vector(name, [name]);
  let residual = "x";
  let x = writer.node("SimplifiedLayerNormalization", ["x", norm(layerName(0, "input_layernorm.weight"))], "x.norm", {
    axis: { int: -1 },
    epsilon,
  });

  for (let layer = 0; layer < config.layers; layer++) {
    const name = (part: string) => layerName(layer, part);
    const at = (value: string) => `${layer}.${value}`;
    const linear = (input: string, part: string, projections: string[], n: number, k: number, bias: boolean) =>
      weights.linear(
        input,
        at(part),
        projections.map((p) => name(`${p}.weight`)),
        n,
        k,
        bias ? projections.map((p) => name(`${p}.bias`)) : [],
      );
    const addAndNorm = (sum: string, out: string, weight: string): string => {
      const next = at(`${out}.residual`);
      writer.nodes("SkipSimplifiedLayerNormalization", [residual, sum, norm(weight)], [at(out), "", "", next], {
        epsilon,
      });
      residual = next;
      return at(out);
    };

    // Attend.
    const projected = linear(
      x,
      "qkv",
      ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
      (heads + 2 * kvHeads) * headDim,
      hiddenSize,
      config.bias.qkv,
    );
    writer.node("Reshape", [projected, writer.int64([0, 0, heads + 2 * kvHeads, headDim])], at("qkv.heads"));
    writer.node("Transpose", [at("qkv.heads")], at("qkv.byhead"), { perm: { ints: [0, 2, 1, 3] } });
    const key = slabNames("k", layer);
    const value = slabNames("v", layer);
    writer.nodes(
      "Split",
      [at("qkv.byhead"), writer.int64([heads, kvHeads, kvHeads])],
      [at("q"), at("k"), value.fresh],
      {
        axis: { int: 1 },
      },
    );
    const rotated = (part: "q" | "k", count: number, out: string): string => {
      let input = at(part);
      if (config.qkNorm) {
        input = writer.node(
          "SimplifiedLayerNormalization",
          [input, norm(name(`self_attn.${part}_norm.weight`))],
          at(`${part}.norm`),
          { axis: { int: -1 }, epsilon },
        );
      }
      return writer.node("RotaryEmbedding", [input, "rope_rows", "cos", "sin"], out, { num_heads: { int: count } });
    };
    let query = rotated("q", heads, at("q.rope"));
    rotated("k", kvHeads, key.fresh);
    for (const names of [key, value]) {
      writer.input(names.ring, "float32", ["n", kvHeads, "ringRows", headDim]);
      writer.input(names.current, "float32", ["n", kvHeads, "block", headDim]);
      writer.output(names.fresh, "float32", ["n", kvHeads, "T", headDim]);
      writer.node("ScatterND", [names.current, "slots", names.fresh], names.block);
    }
    if (rows.repeat > 1) query = writer.node("Concat", [query, query], at("q.twice"), { axis: { int: 2 } });
    query = writer.node("Reshape", [query, writer.int64([0, kvHeads, -1, headDim])], at("q.folded"));
    const scores = (keys: string, out: string) =>
      writer.node("FusedMatMul", [query, keys], out, { transB: { int: 1 }, alpha: headDim ** -0.5 });
    const both = [scores(key.ring, at("scores.ring")), scores(key.block, at("scores.block"))];
    writer.node("Concat", both, at("scores"), { axis: { int: -1 } });
    writer.node("Add", [at("scores"), "mask"], at("masked"));
    writer.node("Softmax", [at("masked")], at("attention"), { axis: { int: -1 } });
    writer.nodes("Split", [at("attention"), "parts"], [at("attention.ring"), at("attention.block")], {
      axis: { int: -1 },
    });
    writer.node("MatMul", [at("attention.ring"), value.ring], at("attended.ring"));
    writer.node("MatMul", [at("attention.block"), value.block], at("attended.block"));
    let attended = writer.node("Add", [at("attended.ring"), at("attended.block")], at("attended.folded"));
    if (rows.repeat > 1) {
      writer.nodes("Split", [attended], [at("attended.once"), at("attended.again")], { axis: { int: 2 } });
      attended = at("attended.once");
    }
    writer.node("Reshape", [attended, writer.int64([0, heads, -1, headDim])], at("attended.byhead"));
    writer.node("Transpose", [at("attended.byhead")], at("attended.bytoken"), { perm: { ints: [0, 2, 1, 3] } });
    writer.node("Reshape", [at("attended.bytoken"), writer.int64([0, 0, heads * headDim])], at("attended"));
    const out = linear(at("attended"), "o", ["self_attn.o_proj"], hiddenSize, heads * headDim, config.bias.output);
    x = addAndNorm(out, "mlp.in", name("post_attention_layernorm.weight"));

    // Feed forward (SwiGLU).
    const inner = config.intermediateSize;
    const gateUp = linear(x, "gate_up", ["mlp.gate_proj", "mlp.up_proj"], 2 * inner, hiddenSize, config.bias.mlp);
    writer.nodes("Split", [gateUp, writer.int64([inner, inner])], [at("gate"), at("up")], { axis: { int: 2 } });
    writer.node("QuickGelu", [at("gate")], at("silu"), { alpha: 1 }); // x * sigmoid(x)
    writer.node("Mul", [at("silu"), at("up")], at("gated"));
    const down = linear(at("gated"), "down", ["mlp.down_proj"], hiddenSize, inner, config.bias.mlp);
    const following = layer + 1 < config.layers ? layerName(layer + 1, "input_layernorm.weight") : "model.norm.weight";
    x = addAndNorm(down, "out", following);
  }

  writer.node("Reshape", [x, writer.int64([-1, hiddenSize])], "hidden");
  writer.node("Gather", ["hidden", "last"], "hidden.last", { axis: { int: 0 } });
  const head = config.tieWordEmbeddings ? embeddingName : "lm_head.weight";
  const logits = weights.linear("hidden.last", "lm_head", [head], config.vocabSize, hiddenSize, []);
  writer.output(logits, "float32", ["k", config.vocabSize]);
  writer.node("ArgMax", [logits], "best", { axis: { int: 1 }, keepdims: { int: 0 } });
  writer.output("best", "int64", ["k"]);

  return { plan: weights.plan(), model: writer.finish(), nodeCount: writer.nodeCount };
}

/** The embedding stays in the checkpoint: the engine reads the rows it needs, so the table never becomes resident. */
export const embeddingName = "model.embed_tokens.weight";

export const logitsOutput = "lm_head.out";

/** The values of a layer's keys or values: two inputs, the output with the new rows, and the current block with them. */
export function slabNames(
  part: "k" | "v",
  layer: number,
): { ring: string; current: string; fresh: string; block: string } {
  const name = (what: string) => `${part}.${what}.${layer}`;
  return { ring: name("ring"), current: name("current"), fresh: name("new"), block: name("block") };
}

/** How many rows of the attention's matrices one token takes, and how often the query is repeated to get there. */
export function attentionRows(config: Pick<ModelConfig, "heads" | "kvHeads">): { perToken: number; repeat: 1 | 2 } {
  const groups = config.heads / config.kvHeads;
  return groups === 1 ? { perToken: 2, repeat: 2 } : { perToken: groups, repeat: 1 };
}

function layerName(layer: number, part: string): string {
  return `model.layers.${layer}.${part}`;
}

/** Lays the weights out in one file, page by page, and names them to the graph. */
class WeightFile {
  readonly #entries: Planned[] = [];
  #end = 0;

  constructor(
    private readonly writer: GraphWriter,
    private readonly format: BlockFormat | undefined,
    private readonly vectors: VectorsOf,
  ) {}

  plan(): WeightPlan {
    return { entries: this.#entries, bytes: this.#end };
  }

  /** x [.., k] times the transposed stack of `sources` [n, k], plus biases. */
  linear(x: string, name: string, sources: string[], n: number, k: number, biases: string[]): string {
    const out = `${name}.out`;
    const bias = biases.length > 0 ? [this.vector(`${name}.bias`, biases)] : [];
    if (!this.format) {
      const tensor = this.#place(`${name}.weight`, "float32", [k, n]);
      this.#entries.push({ form: "transposed", sources, n, k, tensor });
      const product = this.writer.node("MatMul", [x, this.writer.external(tensor, weightFileName)], out);
      return bias[0] ? this.writer.node("Add", [product, bias[0]], `${out}.biased`) : product;
    }
    const { bits, blockSize } = this.format;
    const blocks = Math.ceil(k / blockSize);
    const packed = this.#place(`${name}.packed`, "uint8", [n, blocks, (blockSize * bits) / 8]);
    const scales = this.#place(`${name}.scales`, "float32", [n * blocks]);
    this.#entries.push({ form: "quantized", sources, n, k, format: this.format, packed, scales });
    const inputs = [x, this.writer.external(packed, weightFileName), this.writer.external(scales, weightFileName)];
    return this.writer.node("MatMulNBits", bias[0] ? [...inputs, "", "", bias[0]] : inputs, out, {
      K: { int: k },
      N: { int: n },
      bits: { int: bits },
      block_size: { int: blockSize },
      accuracy_level: { int: 4 }, // int8 activations: the level whose bits depend least on the number of rows
    });
  }

  /**
   * Vectors of the checkpoint, joined. They are part of the graph: ONNX Runtime packs matrices anew when it loads them
   * but goes on reading vectors where they lie, and what it reads in a mapped file can be cut off under its feet.
   */
  vector(name: string, sources: string[]): string {
    return this.writer.float32(name, this.vectors(sources));
  }

  #place(name: string, dtype: "uint8" | "float32", shape: number[]): PlannedTensor {
    const bytes = shape.reduce((a, b) => a * b, dtype === "uint8" ? 1 : 4);
    const tensor = { name, dtype, shape, offset: this.#end, bytes };
    this.#end = Math.ceil((this.#end + bytes) / 4096) * 4096;
    return tensor;
  }
}
