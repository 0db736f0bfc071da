import { dlopen } from "bun:ffi";

/**
 * Sets variables of the C environment, where libraries that are loaded later look; Bun's `process.env` does not reach it,
 * and is not changed. Does nothing on Windows.
 */
export function setInCEnvironment(variables: Readonly<Record<string, string>>): void {
  if (process.platform === "win32") return;
  const libc = dlopen(process.platform === "darwin" ? "libSystem.B.dylib" : "libc.so.6", {
    setenv: { args: ["cstring", "cstring", "i32"], returns: "i32" },
  });
  for (const [name, value] of Object.entries(variables)) {
    libc.symbols.setenv(Buffer.from(`${name}\0`), Buffer.from(`${value}\0`), 1);
  }
  libc.close();
}
