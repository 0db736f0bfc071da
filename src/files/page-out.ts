import { dlopen } from "bun:ffi";
import { readFileSync } from "node:fs";

/** linux/mman.h: reclaim these pages; clean ones of a file are dropped and read again if they are ever needed. */
const MADV_PAGEOUT = 21;

/**
 * Gives back the memory in which the file `path` is mapped, all of it or the parts mapped with `permissions` ("rw-p"),
 * until somebody reads it again. Does nothing on a system without such advice.
 */
export function pageOut(path: string, permissions = ""): void {
  if (process.platform !== "linux") return;
  const libc = dlopen("libc.so.6", { madvise: { args: ["ptr", "usize", "i32"], returns: "i32" } });
  for (const line of readFileSync("/proc/self/maps", "utf8").split("\n")) {
    if (!line.endsWith(path) || !line.includes(` ${permissions}`)) continue;
    const [start = 0, end = 0] = (line.split(" ", 1)[0] ?? "").split("-").map((hex) => Number.parseInt(hex, 16));
    // bun:ffi takes an address as a number; its Pointer type is branded.
    libc.symbols.madvise(start as Parameters<typeof libc.symbols.madvise>[0], end - start, MADV_PAGEOUT);
  }
  libc.close();
}
