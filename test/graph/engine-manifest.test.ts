import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { readManifest } from "../../src/graph/engine-manifest.ts";
import { scratchDir } from "../scratch.ts";
import { testSeed } from "../seed.ts";
import { ensure, golden } from "./engine-files.ts";

test(`A manifest is believed as it was written; with whichever byte changed, it is not (seed ${testSeed})`, async () => {
  using scratch = scratchDir();
  const { dir, ranges } = await ensure(golden("qwen3-tied"), scratch.path);
  const file = join(dir, "manifest.json");
  const whole = readFileSync(file);
  expect(readManifest(dir)?.weights).toEqual(ranges.weights.digest);
  // The line break at its end says nothing.
  const at = fc.nat(whole.length - 2);
  fc.assert(
    fc.property(at, fc.integer({ min: 1, max: 255 }), (i, flipped) => {
      const damaged = Buffer.from(whole);
      damaged[i] = (damaged[i] ?? 0) ^ flipped;
      writeFileSync(file, damaged);
      expect(readManifest(dir)).toBeUndefined();
    }),
    { seed: testSeed, numRuns: 1000 },
  );
  fc.assert(
    fc.property(fc.oneof(fc.json(), fc.string({ unit: "binary" })), (text) => {
      writeFileSync(file, text);
      expect(readManifest(dir)).toBeUndefined();
    }),
    { seed: testSeed },
  );
});
