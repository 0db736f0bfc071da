import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { goldenModels, loadCore, loadDir, modelDir } from "../engine/models.ts";
import { scratchDir } from "../scratch.ts";
import { writeDequantized } from "./dequantized-checkpoint.ts";
import { asked, onGpu } from "./device.ts";

/**
 * How far a quantized engine on a GPU may be from the float32 model with the very weights that its kernels read: the kernel
 * may round activations to 8 bits, in blocks, as the processor's does. Such a number is off by at most half a step of
 * 1/127 of its block's largest, evenly spread, so by 1/(127 sqrt(12)) of it in the root mean square; with a largest of
 * three times a block's mean square root, that is 0.68% of a product. There are four products a layer and the head,
 * whose errors are independent and add in squares: sqrt(4 * 3 + 1) * 0.68% = 2.5% of the logits' root mean square.
 */
const tolerance = (3 / (127 * Math.sqrt(12))) * Math.sqrt(4 * 3 + 1);

const cases = goldenModels.flatMap((model) =>
  (["q8", "q4"] as const).map((quantization) => [model, quantization] as const),
);

describe.skipIf(!asked)(onGpu, () => {
  test.each(cases)(
    "%s in %s computes what the processor computes from the same weights in float32",
    async (model, quantization) => {
      using scratch = scratchDir();
      const dequantized = join(scratch.path, model);
      writeDequantized(dequantized, modelDir(model), quantization);
      const geometry = { sink: 4, window: 20 };
      const gpu = await loadCore(model, { ...geometry, quantization, device: "gpu" });
      const floats = await loadDir(dequantized, geometry);
      const [onGpu, onProcessor] = [await gpu.create(), await floats.create()];
      let from = 0;
      let [squares, all] = [0, 0];
      for (const count of [1, 3, 1, 8, 1, 12]) {
        const tokens = Uint32Array.from({ length: count }, (_, i) => ((from + i) * 131) % 320);
        from += count;
        await Promise.all([gpu.append(onGpu, tokens), floats.append(onProcessor, tokens)]);
        const expected = floats.logits(onProcessor);
        for (const [i, logit] of gpu.logits(onGpu).entries()) {
          squares += (logit - (expected[i] ?? Number.NaN)) ** 2;
          all += (expected[i] ?? Number.NaN) ** 2;
        }
      }
      expect(Math.sqrt(squares / all)).toBeLessThan(tolerance);
      await gpu.close();
      await floats.close();
    },
    600_000,
  );
});
