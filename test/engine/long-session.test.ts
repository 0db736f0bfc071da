import { expect, test } from "bun:test";
import { join } from "node:path";

const tokens = 50_000;

test(`a session of ${tokens} tokens computes each one once, holds what it should, and answers as right as at first`, async () => {
  const tool = join(import.meta.dir, "../../tools/long-session.ts");
  const run = Bun.spawn([process.execPath, tool, "--tokens", String(tokens)], { stdout: "pipe", stderr: "inherit" });
  const result = JSON.parse(await new Response(run.stdout).text());
  expect(await run.exited).toBe(0);
  expect(result.tokens).toBeGreaterThanOrEqual(tokens);
  expect(result.rotations_with_wrong_counts).toBe(0);
  expect(result.answers_right).toEqual({ first_tenth: 1, last_tenth: 1, all: 1 });
  // The collector's rhythm moves this by a few percent; a cache that grew with the history would multiply it.
  expect(result.resident_bytes.ratio).toBeLessThan(1.15);
}, 300_000);
