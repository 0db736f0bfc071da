import { writeFileSync } from "node:fs";

export interface FileTensor {
  dtype: string;
  shape: number[];
  bytes: Uint8Array;
}

/** Writes a safetensors file of these tensors, one behind the other. `headerEdit` may make the header lie. */
export function writeSafetensors(
  file: string,
  tensors: Readonly<Record<string, FileTensor>>,
  headerEdit: (header: Record<string, unknown>) => void = () => {},
): void {
  const header: Record<string, unknown> = {};
  let end = 0;
  for (const [name, { dtype, shape, bytes }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [end, end + bytes.length] };
    end += bytes.length;
  }
  headerEdit(header);
  const json = new TextEncoder().encode(JSON.stringify(header));
  writeFileSync(
    file,
    Buffer.concat([headerLength(BigInt(json.length)), json, ...Object.values(tensors).map((t) => t.bytes)]),
  );
}

/** The eight bytes that a safetensors file starts with. */
export function headerLength(bytes: bigint): Uint8Array {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(bytes);
  return length;
}

export function float32Tensor(shape: number[], values: ArrayLike<number>): FileTensor {
  return { dtype: "F32", shape, bytes: new Uint8Array(new Float32Array(values).buffer) };
}
