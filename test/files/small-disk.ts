import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Where disks are mounted: each name says which process made it. */
const prefix = "kakeya-disk-";

/** A file system of its own with `bytes` of space; only root can make one. */
export function smallDisk(bytes: number): { path: string; remount(mode: "ro" | "rw"): void; [Symbol.dispose](): void } {
  const path = mkdtempSync(join(tmpdir(), `${prefix}${process.pid}-`));
  run("mount", "-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", path);
  return {
    path,
    remount: (mode) => run("mount", "-o", `remount,${mode}`, path),
    [Symbol.dispose]: () => {
      run("umount", "--lazy", path);
      rmdirSync(path);
    },
  };
}

/** Why no small disk can be made here; undefined when it can. */
export function whyNoSmallDisk(): string | undefined {
  try {
    removeDeadDisks();
    smallDisk(1 << 16)[Symbol.dispose]();
    return undefined;
  } catch (error) {
    return `mounting a tmpfs needs root on Linux (${String(error)})`;
  }
}

/** Unmounts the disks of processes that were killed: nobody else would. */
function removeDeadDisks(): void {
  for (const name of readdirSync(tmpdir())) {
    const [, pid] = name.match(`^${prefix}(\\d+)-`) ?? [];
    if (pid === undefined || isAlive(Number(pid))) continue;
    // Not mounted when its process was killed before that; then the folder is all there is.
    spawnSync("umount", ["--lazy", join(tmpdir(), name)]);
    rmSync(join(tmpdir(), name), { recursive: true, force: true }); // Another test may be doing the same.
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

function run(command: string, ...args: string[]): void {
  const { status, error, stderr } = spawnSync(command, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command}: ${error?.message ?? stderr.trim()}`);
}
