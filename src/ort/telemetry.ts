import { dlopen } from "bun:ffi";

/**
 * ONNX Runtime 1.29 and later reports to a Microsoft collector, and leaves a device id and a database in the temp
 * folder, unless ORT_DISABLE_TELEMETRY=1 stands in the C environment when the library loads. Bun's `process.env`
 * does not reach that environment, hence setenv itself. Windows' library has no such reporting.
 */
if (process.platform !== "win32") {
  const libc = dlopen(process.platform === "darwin" ? "libSystem.B.dylib" : "libc.so.6", {
    setenv: { args: ["cstring", "cstring", "i32"], returns: "i32" },
  });
  libc.symbols.setenv(Buffer.from("ORT_DISABLE_TELEMETRY\0"), Buffer.from("1\0"), 1);
  libc.close();
}
