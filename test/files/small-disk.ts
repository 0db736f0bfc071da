import { spawnSync } from "node:child_process";
import { scratchDir } from "../scratch.ts";

/** A file system of its own with `bytes` of space; only root can make one. */
export function smallDisk(bytes: number): { path: string; remount(mode: "ro" | "rw"): void; [Symbol.dispose](): void } {
  const scratch = scratchDir();
  run("mount", "-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", scratch.path);
  return {
    path: scratch.path,
    remount: (mode) => run("mount", "-o", `remount,${mode}`, scratch.path),
    [Symbol.dispose]: () => {
      run("umount", "--lazy", scratch.path);
      scratch[Symbol.dispose]();
    },
  };
}

/** Why no small disk can be made here; undefined when it can. */
export function whyNoSmallDisk(): string | undefined {
  try {
    smallDisk(1 << 16)[Symbol.dispose]();
    return undefined;
  } catch (error) {
    return `mounting a tmpfs needs root on Linux (${String(error)})`;
  }
}

function run(command: string, ...args: string[]): void {
  const { status, error, stderr } = spawnSync(command, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command}: ${error?.message ?? stderr.trim()}`);
}
