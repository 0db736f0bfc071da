import { readFileSync, writeFileSync } from "node:fs";
import { openCheckpoint } from "../../src/checkpoint/safetensors.ts";

/** Changes the values of one F32 tensor of a checkpoint, in its file. */
export function editTensor(dir: string, name: string, edit: (values: Float32Array, columns: number) => void): void {
  const checkpoint = openCheckpoint(dir);
  const tensor = checkpoint.tensors.get(name);
  checkpoint.close();
  if (tensor?.dtype !== "F32") throw new Error(`${name} is no F32 tensor of ${dir}`);
  const bytes = readFileSync(tensor.file);
  const values = new Float32Array(tensor.elements);
  const place = bytes.subarray(tensor.offset, tensor.offset + tensor.elements * 4);
  new Uint8Array(values.buffer).set(place);
  edit(values, tensor.shape.at(-1) ?? 1);
  place.set(new Uint8Array(values.buffer));
  writeFileSync(tensor.file, bytes);
}
