import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { smallDisk, whyNoSmallDisk } from "./small-disk.ts";

test.skipIf(whyNoSmallDisk() !== undefined)(
  "the disk of a test that was killed goes at the next start; a live one stays",
  async () => {
    using live = smallDisk(1 << 16);
    const program = `const { smallDisk } = await import(${JSON.stringify(join(import.meta.dir, "small-disk.ts"))});
    console.log(smallDisk(1 << 16).path);
    await new Promise(() => setInterval(() => {}, 1e6));`;
    const killed = Bun.spawn([process.execPath, "-e", program], { stdout: "pipe" });
    const { value } = await killed.stdout.getReader().read();
    const left = new TextDecoder().decode(value).trim();
    killed.kill("SIGKILL");
    await killed.exited;
    expect(mounted()).toContain(left);
    expect(whyNoSmallDisk()).toBeUndefined();
    expect(mounted()).not.toContain(left);
    expect(existsSync(left)).toBe(false);
    expect(mounted()).toContain(live.path);
  },
);

function mounted(): (string | undefined)[] {
  return readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[1]);
}
