/** No node of the decoder runs on the processor, which would cost a copy each way: counted in ONNX Runtime's own profile. */
import { describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { readConfig } from "../../src/checkpoint/config.ts";
import { ensureEngineFile } from "../../src/graph/engine-file.ts";
import { InferenceSession, Tensor } from "../../src/ort/index.ts";
import { gpuSessionOptions } from "../../src/ort/session-options.ts";
import { modelDir, quantizations } from "../engine/models.ts";
import { scratchDir } from "../scratch.ts";
import { asked, onGpu } from "./device.ts";

/** Any numbers of the graph's shapes: which kernels run does not depend on them. */
function anyFeeds(session: InferenceSession, sizes: Readonly<Record<string, number>>): Record<string, Tensor> {
  const feeds: Record<string, Tensor> = {};
  for (const input of session.inputMetadata) {
    if (!input.isTensor) throw new Error(`${input.name} is no tensor`);
    const shape = input.shape.map((size) => (typeof size === "number" ? size : (sizes[size] ?? 0)));
    const count = shape.reduce((product, size) => product * size, 1);
    const { ringRows = 0, block = 0 } = sizes;
    const numbers = input.name === "parts" ? [ringRows, block] : new Array<number>(count).fill(0);
    feeds[input.name] =
      input.type === "int64"
        ? new Tensor("int64", BigInt64Array.from(numbers, BigInt), shape)
        : new Tensor("float32", Float32Array.from(numbers), shape);
  }
  return feeds;
}

describe.skipIf(!asked)(onGpu, () => {
  test.each(quantizations.map((each) => [each]))(
    "every node of kakeya-tiny in %s runs there",
    async (quantization) => {
      using scratch = scratchDir();
      const dir = join(scratch.path, "profile");
      mkdirSync(dir);
      const model = modelDir("kakeya-tiny");
      const config = readConfig(model);
      const cacheDir = join(scratch.path, "cache");
      const file = await ensureEngineFile({ modelDir: model, config, quantization, device: "gpu", cacheDir });
      const profile = { enableProfiling: true, profileFilePrefix: join(dir, "profile") };
      const session = await InferenceSession.create(file.modelPath, { ...gpuSessionOptions(), ...profile });
      const [n, T, ringRows, block] = [2, 2, 68, 32];
      const gT = (config.heads / config.kvHeads) * T;
      await session.run(anyFeeds(session, { n, T, nT: n * T, gT, ringRows, block, rows: ringRows + block, k: n }));
      session.endProfiling();
      await session.release();
      const [name = ""] = readdirSync(dir);
      const events: { cat: string; name: string; args?: { provider?: string } }[] = JSON.parse(
        readFileSync(join(dir, name), "utf8"),
      );
      const nodes = new Map<string, number>();
      for (const { cat, args, name } of events) {
        if (cat !== "Node" || !name.endsWith("_kernel_time")) continue;
        nodes.set(args?.provider ?? "", (nodes.get(args?.provider ?? "") ?? 0) + 1);
      }
      expect([...nodes.keys()]).toEqual(["WebGpuExecutionProvider"]);
      expect(nodes.get("WebGpuExecutionProvider")).toBeGreaterThan(20 * config.layers);
    },
    600_000,
  );

  test("a graph with a node that has no kernel there is refused, not run on the processor", async () => {
    using scratch = scratchDir();
    const model = modelDir("qwen3-tied");
    const options = {
      modelDir: model,
      config: readConfig(model),
      quantization: "f32",
      cacheDir: scratch.path,
    } as const;
    const { modelPath } = await ensureEngineFile(options);
    const refused = await InferenceSession.create(modelPath, gpuSessionOptions()).then(
      () => "it was taken",
      (error: unknown) => String(error),
    );
    expect(refused).toContain("fallback");
  });
});
