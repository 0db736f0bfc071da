/** What an engine's weight file holds and where: the contract between the graph and the builder of the file. */

/** How the linear layers' weights are stored. */
export type Quantization = "q8" | "q4" | "f32";

/** One tensor of the weight file, as ONNX external data names it. */
export interface PlannedTensor {
  name: string;
  dtype: "uint8" | "float32";
  shape: number[];
  /** Byte offset in the weight file; a multiple of 4096, so that it can be memory-mapped. */
  offset: number;
  bytes: number;
}

/** How one matrix or vector of the checkpoint becomes tensors of the weight file. */
export type Planned =
  /**
   * The matrices `sources`, each [rows, K] and stacked to [N, K], quantized in blocks of 32 along K, in the layout of
   * ONNX Runtime's MatMulNBits: packed [N, ceil(K/32), 32*bits/8] uint8 (4 bit: low nibble first; the zero points are
   * the operator's defaults, 8 and 128) and scales [N * ceil(K/32)] float32. The last block of a row is padded with zeros.
   */
  | {
      form: "quantized";
      sources: string[];
      n: number;
      k: number;
      bits: 4 | 8;
      packed: PlannedTensor;
      scales: PlannedTensor;
    }
  /** The same stack, as float32 and transposed to [K, N]. */
  | { form: "transposed"; sources: string[]; n: number; k: number; tensor: PlannedTensor }
  /** The vectors `sources` one behind the other, as float32. */
  | { form: "vector"; sources: string[]; tensor: PlannedTensor };

export interface WeightPlan {
  entries: Planned[];
  /** Size of the weight file. */
  bytes: number;
}
