import { expect, test } from "bun:test";
import { join } from "node:path";
import { gateNames } from "../../src/report/report.ts";

test("a million turns aggregate within a gigabyte, and pass every gate", async () => {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "million-turns.ts")], { stdout: "pipe" });
  const { tookMs, n, buckets, gates } = JSON.parse(await new Response(child.stdout).text());
  expect(await child.exited).toBe(0);
  const peakBytes = child.resourceUsage()?.maxRSS ?? 0;
  console.log(`a million turns: ${Math.round(tookMs)} ms, ${Math.round(peakBytes / 2 ** 20)} MiB at most`);
  expect([n, buckets]).toEqual([1_000_000, 1667]);
  for (const name of gateNames) expect(gates[name].verdict).toBe("pass");
  expect(peakBytes).toBeGreaterThan(2 ** 24);
  expect(peakBytes).toBeLessThan(1e9);
}, 120_000);
