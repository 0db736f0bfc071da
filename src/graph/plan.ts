/** What an engine's weight file holds and where: the contract between the graph and the builder of the file. */

export const weightFileName = "weights.bin";

/** How the linear layers' weights are stored. */
export type Quantization = "q8" | "q4" | "f32";

/** What runs the graph: the processor, or a GPU by ONNX Runtime's WebGPU provider. */
export type Device = "cpu" | "gpu";

/** How the cache's keys and values are stored: as float32, or in 8 bits with one float32 scale a row. */
export type KvFormat = "f32" | "q8";

/** How ONNX Runtime's MatMulNBits stores a matrix: `blockSize` weights along K share one scale. */
export interface BlockFormat {
  bits: 4 | 8;
  blockSize: 32 | 64 | 128;
}

/**
 * Larger blocks mean fewer scales to read and fewer partial sums to add, but coarser scales: results/measurements has
 * both. Beyond 32 a row's bits depend on whether the number of rows is even (see row-rule.ts in the engine).
 */
export const blockFormats: Readonly<Record<Exclude<Quantization, "f32">, BlockFormat>> = {
  q8: { bits: 8, blockSize: 128 },
  q4: { bits: 4, blockSize: 128 },
};

/** One tensor of the weight file, as ONNX external data names it. */
export interface PlannedTensor {
  name: string;
  dtype: "uint8" | "float32";
  shape: number[];
  /** Byte offset in the weight file; a multiple of 4096, so that it can be memory-mapped. */
  offset: number;
  bytes: number;
}

/** How matrices of the checkpoint become tensors of the weight file. */
export type Planned =
  /**
   * The matrices `sources`, each [rows, K] and stacked to [N, K], quantized in blocks of B = `format.blockSize` along K,
   * in the layout of ONNX Runtime's MatMulNBits: packed [N, ceil(K/B), B*bits/8] uint8 (4 bit: low nibble first; the
   * zero points are the operator's defaults, 8 and 128) and scales [N * ceil(K/B)] float32. The last block of a row is
   * padded with zeros.
   */
  | {
      form: "quantized";
      sources: string[];
      n: number;
      k: number;
      format: BlockFormat;
      packed: PlannedTensor;
      scales: PlannedTensor;
    }
  /** The same stack, as float32 and transposed to [K, N]. */
  | { form: "transposed"; sources: string[]; n: number; k: number; tensor: PlannedTensor };

export interface WeightPlan {
  entries: Planned[];
  /** Size of the weight file. */
  bytes: number;
}
