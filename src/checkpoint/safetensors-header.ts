/** The header of one safetensors file (https://github.com/huggingface/safetensors#format), checked in full. */

import { closeSync, fstatSync, readSync } from "node:fs";
import { isJsonObject, parseJsonObject } from "./json-file.ts";
import { ModelError } from "./model-error.ts";
import { requireRegularFile } from "./regular-file.ts";

export interface HeaderTensor {
  dtype: string;
  shape: readonly number[];
  /** Byte offset of the first element in the file. */
  offset: number;
  elements: number;
}

/** Room for a hundred thousand tensors. The format's own limit, 100 MB, takes seconds and gigabytes to parse. */
const maxHeaderBytes = 2 ** 24;

const bytesPerElement: Readonly<Record<string, number>> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  I64: 8,
  U64: 8,
  F64: 8,
  C64: 8,
};

const redownload = "The file is damaged; download it again";

/** Reads and checks the header of `file`. Throws ModelError for a file that is truncated or lies about itself. */
export function readHeader(file: string): Map<string, HeaderTensor> {
  const fd = requireRegularFile(file);
  try {
    return readHeaderOf(file, fd);
  } finally {
    closeSync(fd);
  }
}

/** The same of a file that is open for reading. */
export function readHeaderOf(file: string, fd: number): Map<string, HeaderTensor> {
  const fileBytes = fstatSync(fd).size;
  const start = Buffer.alloc(8);
  const got = readSync(fd, start, 0, 8, 0);
  if (got < 8) throw new ModelError(file, `is ${fileBytes} bytes long, too short for a safetensors file`, redownload);
  refuseLfsPointer(file, start);
  const headerBytes = start.readBigUInt64LE();
  if (headerBytes > BigInt(fileBytes - 8)) {
    throw new ModelError(file, `says its header takes ${headerBytes} bytes, but the file has ${fileBytes}`, redownload);
  }
  if (headerBytes > BigInt(maxHeaderBytes)) {
    throw new ModelError(file, `has a header of ${headerBytes} bytes, above ${maxHeaderBytes}`, redownload);
  }
  const header = Buffer.alloc(Number(headerBytes));
  if (readSync(fd, header, 0, header.length, 8) !== header.length) {
    throw new ModelError(file, "ends inside its header", redownload);
  }
  return parseHeader(file, header, fileBytes);
}

/**
 * Checks the JSON of a header: every tensor's bytes are its shape times its dtype, and together they cover the
 * data exactly, without overlap or gap.
 */
export function parseHeader(file: string, header: Uint8Array, fileBytes: number): Map<string, HeaderTensor> {
  const json = parseJsonObject(file, new TextDecoder().decode(header));
  const dataStart = 8 + header.length;
  const tensors = new Map<string, HeaderTensor>();
  const ranges: { name: string; begin: number; end: number }[] = [];
  for (const [name, entry] of Object.entries(json)) {
    if (name === "__metadata__") continue;
    const { tensor, begin, end } = parseTensor(file, name, entry, dataStart);
    tensors.set(name, tensor);
    ranges.push({ name, begin, end });
  }

  ranges.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let covered = 0;
  for (const { name, begin, end } of ranges) {
    if (begin !== covered) {
      const what = begin < covered ? "overlaps the tensor before it" : "leaves a gap before it";
      throw new ModelError(
        file,
        `tensor ${name} starts at byte ${begin} of the data and ${what}, which ends at ${covered}`,
        redownload,
      );
    }
    covered = end;
  }
  const dataBytes = fileBytes - dataStart;
  if (covered !== dataBytes) {
    const how = covered > dataBytes ? "is truncated" : "is too long";
    throw new ModelError(
      file,
      `${how}: its header describes ${covered} bytes of data, but there are ${dataBytes}`,
      redownload,
    );
  }
  return tensors;
}

function parseTensor(
  file: string,
  name: string,
  entry: unknown,
  dataStart: number,
): { tensor: HeaderTensor; begin: number; end: number } {
  const wrong = (problem: string) => new ModelError(file, `tensor ${name}: ${problem}`, redownload);
  if (!isJsonObject(entry)) throw wrong("is not described by an object");
  const { dtype, shape, data_offsets: offsets } = entry;
  const width = typeof dtype === "string" && Object.hasOwn(bytesPerElement, dtype) ? bytesPerElement[dtype] : undefined;
  if (typeof dtype !== "string" || width === undefined) throw wrong(`unknown dtype ${JSON.stringify(dtype)}`);
  if (!isSizes(shape)) throw wrong(`shape ${JSON.stringify(shape)} is not a list of sizes`);
  if (!isSizes(offsets) || offsets.length !== 2)
    throw wrong(`data_offsets ${JSON.stringify(offsets)} are not a pair of offsets`);
  const [begin = 0, end = 0] = offsets;
  const elements = shape.reduce((product, size) => product * size, 1);
  if (end - begin !== elements * width) {
    throw wrong(
      `${dtype} of shape [${shape.join(", ")}] takes ${elements * width} bytes, but data_offsets give ${end - begin}`,
    );
  }
  return { tensor: { dtype, shape, offset: dataStart + begin, elements }, begin, end };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function refuseLfsPointer(file: string, start: Uint8Array): void {
  if (new TextDecoder().decode(start) !== "version ") return;
  throw new ModelError(file, "is a Git LFS pointer, not the weights themselves", 'Run "git lfs pull" in its directory');
}
