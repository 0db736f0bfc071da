import { writeSync } from "node:fs";
import { ModelError } from "../checkpoint/model-error.ts";
import type { Checkpoint } from "../checkpoint/safetensors.ts";
import type { Planned } from "./plan.ts";
import { quantizeRows } from "./quantize.ts";

/** Elements held at once: 4 MB of float32, small enough for the processor's caches to help. */
const chunkElements = 1 << 20;

/** Elements of a transposed piece: 16 MB of float32, so that the strided writes are long ones. */
const transposedElements = 1 << 22;

/**
 * Writes one entry of the plan: reads the checkpoint by range, converts, and writes each tensor at its place in `fd`.
 * Memory stays under 100 MB whatever the model. `onWritten` is told the bytes of each write.
 */
export function writeEntry(
  entry: Planned,
  checkpoint: Checkpoint,
  fd: number,
  onWritten: (bytes: number) => void,
): void {
  const write = (bytes: ArrayBufferView, position: number) => {
    writeFully(fd, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength), position);
    onWritten(bytes.byteLength);
  };
  if (entry.form === "quantized") writeQuantized(entry, checkpoint, write);
  else writeTransposed(entry, checkpoint, write);
}

type Write = (bytes: ArrayBufferView, position: number) => void;

type Form<F extends Planned["form"]> = Extract<Planned, { form: F }>;

function writeQuantized(entry: Form<"quantized">, checkpoint: Checkpoint, write: Write): void {
  const { packed, scales, n, k, format } = entry;
  const packedRowBytes = packed.bytes / n;
  const scalesRowBytes = scales.bytes / n;
  for (const { source, row, values } of stackedRows(entry, chunkElements, checkpoint)) {
    const quantized = naming(checkpoint, source, () => quantizeRows(values, k, format));
    write(quantized.packed, packed.offset + row * packedRowBytes);
    write(quantized.scales, scales.offset + row * scalesRowBytes);
  }
}

function writeTransposed(entry: Form<"transposed">, checkpoint: Checkpoint, write: Write): void {
  const { tensor, n, k } = entry;
  for (const { source, row, values } of stackedRows(entry, transposedElements, checkpoint)) {
    naming(checkpoint, source, () => refuseNonFinite(values));
    const rows = values.length / k;
    const transposed = transpose(values, rows, k);
    if (rows === n) write(transposed, tensor.offset);
    else
      for (let i = 0; i < k; i++)
        write(transposed.subarray(i * rows, (i + 1) * rows), tensor.offset + (i * n + row) * 4);
  }
}

/** The vectors `sources` one after the other. Throws ModelError when a value is no finite number. */
export function readVectors(checkpoint: Checkpoint, sources: readonly string[]): Float32Array {
  const vectors = sources.map((source) => {
    const values = new Float32Array(checkpoint.tensors.get(source)?.elements ?? 0);
    checkpoint.readFloats(source, 0, values);
    naming(checkpoint, source, () => refuseNonFinite(values));
    return values;
  });
  const joined = new Float32Array(vectors.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const vector of vectors) {
    joined.set(vector, at);
    at += vector.length;
  }
  return joined;
}

/** Reads a whole tensor, some rows at a time. Throws ModelError when a value is no finite number. */
export function requireFinite(checkpoint: Checkpoint, source: string): void {
  const elements = checkpoint.tensors.get(source)?.elements ?? 0;
  const buffer = new Float32Array(Math.min(chunkElements, elements));
  for (let first = 0; first < elements; first += chunkElements) {
    const values = buffer.subarray(0, elements - first);
    checkpoint.readFloats(source, first, values);
    naming(checkpoint, source, () => refuseNonFinite(values));
  }
}

/** The rows of stacked matrices, some at a time; `row` counts within the stack. `values` is only valid until the next. */
function* stackedRows(
  entry: { sources: string[]; n: number; k: number },
  elements: number,
  checkpoint: Checkpoint,
): Generator<{ source: string; row: number; values: Float32Array }> {
  const { n, k } = entry;
  const rowsAtOnce = Math.max(1, Math.floor(elements / k));
  const buffer = new Float32Array(Math.min(rowsAtOnce, n) * k);
  let row = 0;
  for (const source of entry.sources) {
    const rows = (checkpoint.tensors.get(source)?.elements ?? 0) / k;
    for (let first = 0; first < rows; first += rowsAtOnce) {
      const values = buffer.subarray(0, Math.min(rowsAtOnce, rows - first) * k);
      checkpoint.readFloats(source, first * k, values);
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

/** Runs `work` on rows of a tensor; its errors get the tensor's name and file. */
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

function writeFully(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, position + done);
}
