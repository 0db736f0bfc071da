export type TensorDtype = "BF16" | "F16" | "F32";

export interface CheckpointTensor {
  dtype: TensorDtype;
  shape: readonly number[];
  /** The file that holds it. */
  file: string;
  /** Byte offset of the first element in that file. */
  offset: number;
  /** Number of elements: the product of `shape`. */
  elements: number;
}

/** The weights of a Hugging Face directory, read by range; nothing is held in memory. */
export interface Checkpoint {
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  /** Fills `out` with the elements [firstElement, firstElement + out.length) of a tensor, as float32. */
  readFloats(name: string, firstElement: number, out: Float32Array): void;
  close(): void;
}

export function openCheckpoint(dir: string): Checkpoint {
  throw new Error(`not built yet: ${dir}`);
}
