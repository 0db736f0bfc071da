import { expect, test } from "bun:test";
import { join } from "node:path";

const module = join(import.meta.dir, "../../src/host/descriptors.ts");

test.skipIf(process.platform !== "linux")("when next to no descriptor is left, the log says so, once", async () => {
  const program = `
    const { descriptorsForConnections, watchDescriptors } = await import(${JSON.stringify(module)});
    const { openSync } = await import("node:fs");
    const before = descriptorsForConnections();
    const write = (message, fields) => void console.log(JSON.stringify({ message, before, ...fields }));
    watchDescriptors({ warn: write }, () => 0);
    try { for (;;) openSync("/dev/null"); } catch {}
    setTimeout(() => process.exit(), 2500);`;
  const limited = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", process.execPath, "-e", program];
  const child = Bun.spawn(limited, { stdio: ["ignore", "pipe", "inherit"] });
  const lines = (await new Response(child.stdout).text()).trim().split("\n");
  expect(lines).toHaveLength(1);
  const { message, before, free } = JSON.parse(lines[0] ?? "");
  expect(message).toStartWith("file descriptors have run out");
  expect(before).toBeLessThan(64 - 16);
  expect(free).toBeLessThan(4);
});
