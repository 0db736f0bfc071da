import { writeSync } from "node:fs";
import { ModelError } from "../checkpoint/model-error.ts";
import type { Checkpoint } from "../checkpoint/safetensors.ts";
import { TensorDigests } from "./fingerprint.ts";
import type { Planned, PlannedTensor } from "./plan.ts";
import { quantizeRows } from "./quantize.ts";

/** Elements held at once: 4 MB of float32, small enough for the processor's caches to help. */
const chunkElements = 1 << 20;

/** Elements of a transposed piece: 16 MB of float32, so that the strided writes are long ones. */
const transposedElements = 1 << 22;

/** One piece of the work on a weight file: an entry of the plan to write, or a tensor that is only to be hashed. */
export type WeightTask = { write: Planned } | { hash: string };

/**
 * Does one task: reads the checkpoint by range, converts, and writes each tensor at its place in `fd`.
 * Memory stays under 100 MB whatever the model. `onWritten` is told the bytes of each write.
 * Returns the SHA-256 (hex) of every tensor it read.
 */
export function performTask(
  task: WeightTask,
  checkpoint: Checkpoint,
  fd: number,
  onWritten: (bytes: number) => void,
): Map<string, string> {
  const digests = new TensorDigests();
  const write = (bytes: ArrayBufferView, position: number) => {
    writeFully(fd, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength), position);
    onWritten(bytes.byteLength);
  };
  if ("hash" in task) readInPieces(checkpoint, task.hash, digests.watch(task.hash));
  else if (task.write.form === "quantized") writeQuantized(task.write, checkpoint, digests, write);
  else if (task.write.form === "transposed") writeTransposed(task.write, checkpoint, digests, write);
  else writeVector(task.write, checkpoint, digests, write);
  return digests.finish();
}

type Write = (bytes: ArrayBufferView, position: number) => void;

type Form<F extends Planned["form"]> = Extract<Planned, { form: F }>;

function writeQuantized(entry: Form<"quantized">, checkpoint: Checkpoint, digests: TensorDigests, write: Write): void {
  const { packed, scales, n, k, format } = entry;
  const packedRowBytes = packed.bytes / n;
  const scalesRowBytes = scales.bytes / n;
  for (const { source, row, values } of stackedRows(entry, chunkElements, checkpoint, digests)) {
    const quantized = naming(checkpoint, source, () => quantizeRows(values, k, format));
    write(quantized.packed, packed.offset + row * packedRowBytes);
    write(quantized.scales, scales.offset + row * scalesRowBytes);
  }
}

function writeTransposed(
  entry: Form<"transposed">,
  checkpoint: Checkpoint,
  digests: TensorDigests,
  write: Write,
): void {
  const { tensor, n, k } = entry;
  for (const { source, row, values } of stackedRows(entry, transposedElements, checkpoint, digests)) {
    naming(checkpoint, source, () => refuseNonFinite(values));
    const rows = values.length / k;
    const transposed = transpose(values, rows, k);
    if (rows === n) write(transposed, tensor.offset);
    else
      for (let i = 0; i < k; i++)
        write(transposed.subarray(i * rows, (i + 1) * rows), tensor.offset + (i * n + row) * 4);
  }
}

function writeVector(entry: Form<"vector">, checkpoint: Checkpoint, digests: TensorDigests, write: Write): void {
  let position = entry.tensor.offset;
  for (const source of entry.sources) {
    readInPieces(checkpoint, source, digests.watch(source), (values) => {
      write(values, position);
      position += values.byteLength;
    });
  }
  requireFilled(entry.tensor, position - entry.tensor.offset);
}

/** Reads a whole tensor, some at a time; `onBytes` sees its bytes and `onValues` its values, which must be finite. */
function readInPieces(
  checkpoint: Checkpoint,
  source: string,
  onBytes?: (bytes: Uint8Array) => void,
  onValues?: (values: Float32Array) => void,
): void {
  const elements = checkpoint.tensors.get(source)?.elements ?? 0;
  const buffer = new Float32Array(Math.min(chunkElements, elements));
  for (let first = 0; first < elements; first += chunkElements) {
    const values = buffer.subarray(0, elements - first);
    checkpoint.readFloats(source, first, values, onBytes);
    naming(checkpoint, source, () => refuseNonFinite(values));
    onValues?.(values);
  }
}

/** The rows of stacked matrices, some at a time; `row` counts within the stack. `values` is only valid until the next. */
function* stackedRows(
  entry: { sources: string[]; n: number; k: number },
  elements: number,
  checkpoint: Checkpoint,
  digests: TensorDigests,
): Generator<{ source: string; row: number; values: Float32Array }> {
  const { n, k } = entry;
  const rowsAtOnce = Math.max(1, Math.floor(elements / k));
  const buffer = new Float32Array(Math.min(rowsAtOnce, n) * k);
  let row = 0;
  for (const source of entry.sources) {
    const rows = (checkpoint.tensors.get(source)?.elements ?? 0) / k;
    const watch = digests.watch(source);
    for (let first = 0; first < rows; first += rowsAtOnce) {
      const values = buffer.subarray(0, Math.min(rowsAtOnce, rows - first) * k);
      checkpoint.readFloats(source, first * k, values, watch);
      yield { source, row: row + first, values };
    }
    row += rows;
  }
  if (row !== n) throw new Error(`the plan stacks ${entry.sources.join(", ")} to ${n} rows, but they have ${row}`);
}

const tile = 32;

/** [rows, k] to [k, rows], in tiles that stay in the processor's nearest cache. */
export function transpose(values: Float32Array, rows: number, k: number): Float32Array {
  const out = new Float32Array(values.length);
  for (let top = 0; top < rows; top += tile) {
    const bottom = Math.min(top + tile, rows);
    for (let left = 0; left < k; left += tile) {
      const right = Math.min(left + tile, k);
      for (let column = left; column < right; column++) {
        for (let row = top; row < bottom; row++) out[column * rows + row] = values[row * k + column] ?? 0;
      }
    }
  }
  return out;
}

function refuseNonFinite(values: Float32Array): void {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += Math.abs(values[i] ?? 0);
  if (!(sum < Infinity)) throw new RangeError("a weight is not a finite number");
}

/** Runs `work` on rows of a tensor; what it finds wrong with them is said with the tensor's name and file. */
function naming<T>(checkpoint: Checkpoint, source: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const file = checkpoint.tensors.get(source)?.file ?? "";
    const problem = `tensor ${source} holds infinities or NaNs`;
    throw new ModelError(file, problem, "The checkpoint is damaged; download it again", { cause: error });
  }
}

function requireFilled(tensor: PlannedTensor, bytes: number): void {
  if (bytes !== tensor.bytes)
    throw new Error(`the plan gives ${tensor.name} ${tensor.bytes} bytes, but its sources fill ${bytes}`);
}

function writeFully(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, position + done);
}
