/** ONNX Runtime's C interface through bun:ffi, as far as running a graph over memory that is already there needs it. */

import { CString, dlopen, linkSymbols, type Pointer, ptr, read } from "bun:ffi";
import type { Tensor } from "../src/ort/index.ts";

/** The version of OrtApi whose functions these are; later libraries have them, too. */
const apiVersion = 17;

/** Places of the functions in OrtApi (onnxruntime_c_api.h), which are never moved, and what they take. */
const functions = {
  GetErrorMessage: { at: 2, args: ["ptr"], returns: "ptr" },
  CreateEnv: { at: 3, args: ["i32", "ptr", "ptr"], returns: "ptr" },
  CreateSession: { at: 7, args: ["ptr", "ptr", "ptr", "ptr"], returns: "ptr" },
  Run: { at: 9, args: ["ptr", "ptr", "ptr", "ptr", "usize", "ptr", "usize", "ptr"], returns: "ptr" },
  CreateSessionOptions: { at: 10, args: ["ptr"], returns: "ptr" },
  DisableMemPattern: { at: 17, args: ["ptr"], returns: "ptr" },
  SetSessionGraphOptimizationLevel: { at: 23, args: ["ptr", "i32"], returns: "ptr" },
  SetIntraOpNumThreads: { at: 24, args: ["ptr", "i32"], returns: "ptr" },
  SetInterOpNumThreads: { at: 25, args: ["ptr", "i32"], returns: "ptr" },
  CreateTensorWithDataAsOrtValue: {
    at: 49,
    args: ["ptr", "ptr", "usize", "ptr", "usize", "i32", "ptr"],
    returns: "ptr",
  },
  CreateCpuMemoryInfo: { at: 69, args: ["i32", "i32", "ptr"], returns: "ptr" },
  ReleaseSession: { at: 95, args: ["ptr"], returns: "void" },
  AddSessionConfigEntry: { at: 130, args: ["ptr", "ptr", "ptr"], returns: "ptr" },
} as const;

const elementTypes: Readonly<Record<string, number>> = { float32: 1, int8: 3, int64: 7 };
const [ORT_LOGGING_LEVEL_ERROR, ORT_DISABLE_ALL, OrtArenaAllocator, OrtMemTypeDefault] = [3, 0, 1, 0];

/** Opens a model as `sessionOptions` of src/ort does; `library` is onnxruntime-node's libonnxruntime. */
export function openThroughC(library: string, modelPath: string, threads: number) {
  const base = dlopen(library, { OrtGetApiBase: { args: [], returns: "ptr" } }).symbols.OrtGetApiBase() as Pointer;
  const getApi = read.ptr(base) as Pointer;
  const api = linkSymbols({ GetApi: { ptr: getApi, args: ["u32"], returns: "ptr" } }).symbols.GetApi(apiVersion);
  const linked = linkSymbols(
    Object.fromEntries(
      Object.entries(functions).map(([name, { at, args, returns }]) => [
        name,
        { ptr: read.ptr(api as Pointer, at * 8) as Pointer, args, returns },
      ]),
    ),
  );
  const symbols = linked.symbols as unknown as Readonly<Record<string, (...args: unknown[]) => Pointer | null>>;
  // What an array's address is given for must not be collected while the library may use it.
  const kept: unknown[] = [];
  const keep = <T>(value: T): T => {
    kept.push(value);
    return value;
  };
  const call = (name: keyof typeof functions, ...args: unknown[]): void => {
    const status = symbols[name]?.(...args);
    if (status) throw new Error(`${name}: ${new CString(symbols.GetErrorMessage?.(status) as Pointer)}`);
  };
  const text = (value: string) => ptr(keep(Buffer.from(`${value}\0`)));
  const made = (name: keyof typeof functions, ...args: unknown[]): bigint => {
    const out = new BigUint64Array(1);
    call(name, ...args, ptr(out));
    return out[0] ?? 0n;
  };

  const env = made("CreateEnv", ORT_LOGGING_LEVEL_ERROR, text("kakeya"));
  const options = made("CreateSessionOptions");
  call("DisableMemPattern", options);
  call("SetSessionGraphOptimizationLevel", options, ORT_DISABLE_ALL);
  call("SetIntraOpNumThreads", options, threads);
  call("SetInterOpNumThreads", options, 1);
  call("AddSessionConfigEntry", options, text("session.intra_op.allow_spinning"), text("1"));
  call("AddSessionConfigEntry", options, text("session.intra_op.spin_duration_us"), text("50"));
  const session = made("CreateSession", env, text(modelPath), options);
  const memory = made("CreateCpuMemoryInfo", OrtArenaAllocator, OrtMemTypeDefault);

  const addresses = (values: bigint[]) => ptr(keep(BigUint64Array.from(values)));
  const named = (tensors: Readonly<Record<string, Tensor>>) => ({
    count: Object.keys(tensors).length,
    names: addresses(Object.keys(tensors).map((name) => BigInt(text(name)))),
    values: addresses(
      Object.values(tensors).map(({ type, data, dims }) => {
        if (!ArrayBuffer.isView(data)) throw new Error(`a tensor of ${type} has no memory of its own`);
        const shape = keep(BigInt64Array.from(dims, BigInt));
        // The address of an empty array is never read.
        const address = ptr(keep(data.byteLength > 0 ? data : new Uint8Array(8)));
        const kind = elementTypes[type];
        const make = "CreateTensorWithDataAsOrtValue";
        return made(make, memory, address, data.byteLength, ptr(shape), dims.length, kind);
      }),
    ),
  });
  return {
    /** A run that reads `feeds` and writes `fetches` where they are; what it gives may be called again and again. */
    prepare(feeds: Readonly<Record<string, Tensor>>, fetches: Readonly<Record<string, Tensor>>): () => void {
      const [read, written] = [named(feeds), named(fetches)];
      return () =>
        call("Run", session, null, read.names, read.values, read.count, written.names, written.count, written.values);
    },
    /** Frees the weights; nothing that `prepare` gave may run afterwards. */
    release(): void {
      symbols.ReleaseSession?.(session);
    },
  };
}
