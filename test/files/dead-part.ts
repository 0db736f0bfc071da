import { partPath } from "../../src/files/part.ts";

/** What a process of this machine that has ended would have called its part of `target`. */
export function deadPart(target: string): string {
  const { pid } = Bun.spawnSync(["true"]);
  return partPath(target).replace(`-${process.pid}-`, `-${pid}-`);
}
