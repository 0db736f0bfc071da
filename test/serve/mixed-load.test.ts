import { expect, test } from "bun:test";
import { mixedLoad } from "../../tools/mixed-load.ts";
import { testSeed } from "../seed.ts";
import { serving } from "./serving.ts";

// Ten minutes of it, with the server in a process of its own: `bun tools/mixed-load.ts`.
test("under a mixed load nothing fails that may not, every count is right, and no slab is lost", async () => {
  await using server = await serving({ capacity: 24 });
  const load = { durationS: 5, leastCalls: 20, connections: 32, seed: testSeed, sampleEveryS: 1 };
  const result = await mixedLoad(server.address, load);
  expect({ seed: testSeed, unexpected: result.unexpected, allSlabsFree: result.allSlabsFree }).toEqual({
    seed: testSeed,
    unexpected: [],
    allSlabsFree: true,
  });
  for (const { count } of Object.values(result.calls)) expect(count).toBeGreaterThanOrEqual(20);
  expect(server.logged.filter((line) => / (warn|error) /.test(line))).toEqual([]);
}, 600_000);
