import { expect, test } from "bun:test";
import { testExactness } from "./exactness.ts";
import { loadCore } from "./models.ts";

testExactness("kakeya-tiny");

test("one thread and two give the same bits", async () => {
  const bits = await Promise.all(
    [1, 2].map(async (threads) => {
      const core = await loadCore("kakeya-tiny", { quantization: "q8", threads });
      const sequence = await core.create();
      await core.append(
        sequence,
        Uint32Array.from({ length: 300 }, (_, i) => (i * 131) % 2048),
      );
      const hash = Bun.hash(core.logits(sequence));
      await core.close();
      return hash;
    }),
  );
  expect(new Set(bits).size).toBe(1);
});
