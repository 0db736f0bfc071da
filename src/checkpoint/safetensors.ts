import { closeSync, existsSync, fstatSync, readSync, type Stats } from "node:fs";
import { join } from "node:path";
import { dtypeBytes, type TensorDtype, toFloat32 } from "./float-conversion.ts";
import { isJsonObject, type JsonObject, readJsonFile } from "./json-file.ts";
import { ModelError } from "./model-error.ts";
import { requireRegularFile } from "./regular-file.ts";
import { readHeaderOf } from "./safetensors-header.ts";

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
  /** The safetensors files, by full path, sorted. */
  readonly files: readonly string[];
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  /** Fills `out` with the elements [firstElement, firstElement + out.length) of a tensor, as float32. */
  readFloats(name: string, firstElement: number, out: Float32Array): void;
  /**
   * One of the files being read that was written to since the checkpoint was opened, or since this was last asked;
   * undefined when there is none. A file that was removed, or replaced by another of its name, is still read as it was.
   */
  changedFile(): string | undefined;
  /** The tensor, if it has this shape; else ModelError. */
  require(name: string, shape: readonly number[]): CheckpointTensor;
  close(): void;
}

/**
 * Opens model.safetensors, or the shards that model.safetensors.index.json names, and checks all headers. Throws
 * ModelError for files that are missing, truncated or contradictory.
 */
export function openCheckpoint(dir: string): Checkpoint {
  const tensors = new Map<string, CheckpointTensor>();
  /** Tensors in formats that hold no weights (integers, float8), by name. */
  const unread = new Map<string, { file: string; dtype: string }>();
  const files = checkpointFiles(dir);
  // What is read later is read from the very file whose header was read, even if another takes its name meanwhile.
  const reader = new RangeReader();
  try {
    for (const [file, expected] of files) {
      const header = readHeaderOf(file, reader.open(file));
      for (const name of expected) {
        if (!header.has(name))
          throw new ModelError(file, `lacks tensor ${name}, which the index says it holds`, "Download both again");
      }
      for (const [name, { dtype, shape, offset, elements }] of header) {
        if (isFloat(dtype)) tensors.set(name, { dtype, shape, file, offset, elements });
        else unread.set(name, { file, dtype });
      }
    }
  } catch (error) {
    reader.close();
    throw error;
  }

  return {
    files: [...files.keys()].sort(),
    tensors,
    readFloats(name, firstElement, out) {
      const tensor = tensors.get(name);
      if (tensor === undefined) throw missing(dir, name, tensors, unread);
      if (firstElement < 0 || firstElement + out.length > tensor.elements) {
        throw new RangeError(
          `${name} has ${tensor.elements} elements, not ${firstElement}..${firstElement + out.length}`,
        );
      }
      reader.read(tensor, firstElement, out);
    },
    changedFile: () => reader.changedFile(),
    require(name, shape) {
      const tensor = tensors.get(name);
      if (tensor === undefined) throw missing(dir, name, tensors, unread);
      if (tensor.shape.length === shape.length && tensor.shape.every((size, i) => size === shape[i])) return tensor;
      const [found, needed] = [tensor.shape, shape].map((sizes) => `[${sizes.join(", ")}]`);
      throw new ModelError(
        tensor.file,
        `tensor ${name} has the shape ${found}, but config.json asks for ${needed}`,
        "config.json and the weights belong to different models; download both again",
      );
    },
    close: () => reader.close(),
  };
}

/** The files of a checkpoint, each with the tensors that its index expects in it. */
function checkpointFiles(dir: string): Map<string, string[]> {
  const single = join(dir, "model.safetensors");
  if (existsSync(single)) return new Map([[single, []]]);
  const indexFile = `${single}.index.json`;
  const index = readJsonFile(indexFile);
  if (index === undefined) throw noWeights(dir, single);
  const files = new Map<string, string[]>();
  for (const [shard, names] of shardsOf(indexFile, index)) {
    const file = join(dir, shard);
    if (!existsSync(file)) {
      throw new ModelError(file, "is missing, and model.safetensors.index.json names it", "Download this shard");
    }
    files.set(file, names);
  }
  return files;
}

/**
 * The shards that the object in a model.safetensors.index.json names, each with its tensors. Throws ModelError when a
 * shard's name can't be that of a file beside it.
 */
export function shardsOf(indexFile: string, index: JsonObject): Map<string, string[]> {
  const weightMap = index.weight_map;
  if (!isJsonObject(weightMap)) throw new ModelError(indexFile, "has no weight_map", "Download the file again");
  const shards = new Map<string, string[]>();
  for (const [name, shard] of Object.entries(weightMap)) {
    if (typeof shard !== "string" || !/^[^/\\]+\.safetensors$/.test(shard)) {
      throw new ModelError(
        indexFile,
        `weight_map.${name} is ${JSON.stringify(shard)}, not a file beside it`,
        "Download the file again",
      );
    }
    const names = shards.get(shard);
    if (names === undefined) shards.set(shard, [name]);
    else names.push(name);
  }
  return shards;
}

function noWeights(dir: string, single: string): ModelError {
  const pickled = ["pytorch_model.bin", "pytorch_model.bin.index.json"].some((name) => existsSync(join(dir, name)));
  return pickled
    ? new ModelError(
        single,
        "is missing; the weights are in pytorch_model.bin",
        "Use a checkpoint saved as safetensors",
      )
    : new ModelError(
        single,
        "is missing, and model.safetensors.index.json too",
        "Download the weights into this directory",
      );
}

function missing(
  dir: string,
  name: string,
  tensors: ReadonlyMap<string, unknown>,
  unread: ReadonlyMap<string, { file: string; dtype: string }>,
): ModelError {
  const other = unread.get(name);
  if (other !== undefined) {
    return new ModelError(
      other.file,
      `tensor ${name} is ${other.dtype}`,
      "Use the original checkpoint in BF16, F16 or F32",
    );
  }
  const some = [...tensors.keys()].slice(0, 3).join(", ");
  return new ModelError(
    dir,
    `tensor ${name} is in none of the weight files (they hold ${tensors.size} tensors: ${some}, ...)`,
    "Use a checkpoint of the whole language model, downloaded in full",
  );
}

function isFloat(dtype: string): dtype is TensorDtype {
  return Object.hasOwn(dtypeBytes, dtype);
}

const pieceBytes = 1 << 20;

/** Reads and converts ranges of open files through one piece of memory. */
class RangeReader {
  private readonly piece = new Uint8Array(pieceBytes);
  private readonly descriptors = new Map<string, number>();
  private readonly identities = new Map<string, string>();

  open(file: string): number {
    const fd = requireRegularFile(file);
    this.descriptors.set(file, fd);
    this.identities.set(file, identityOf(fstatSync(fd)));
    return fd;
  }

  read(tensor: CheckpointTensor, firstElement: number, out: Float32Array): void {
    const width = dtypeBytes[tensor.dtype];
    const pieceElements = pieceBytes / width;
    const fd = this.descriptors.get(tensor.file);
    if (fd === undefined) throw new Error(`${tensor.file} is closed`);
    for (let done = 0; done < out.length; done += pieceElements) {
      const target = out.subarray(done, done + pieceElements);
      const bytes = this.piece.subarray(0, target.length * width);
      this.fill(fd, tensor, bytes, tensor.offset + (firstElement + done) * width);
      toFloat32(tensor.dtype, bytes, target);
    }
  }

  /** One of the open files that was written to since it was opened, or since this was last asked. */
  changedFile(): string | undefined {
    for (const [file, fd] of this.descriptors) {
      const identity = identityOf(fstatSync(fd));
      if (identity === this.identities.get(file)) continue;
      this.identities.set(file, identity);
      return file;
    }
    return undefined;
  }

  close(): void {
    for (const fd of this.descriptors.values()) closeSync(fd);
    this.descriptors.clear();
  }

  private fill(fd: number, tensor: CheckpointTensor, bytes: Uint8Array, position: number): void {
    let got = 0;
    while (got < bytes.length) {
      const n = readSync(fd, bytes, got, bytes.length - got, position + got);
      if (n === 0)
        throw new ModelError(tensor.file, `ended at byte ${position + got} while it was read`, "Download it again");
      got += n;
    }
  }
}

/** Changes whenever the file is written to. */
function identityOf({ size, mtimeMs }: Stats): string {
  return `${size} ${mtimeMs}`;
}
