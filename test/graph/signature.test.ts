import { expect, test } from "bun:test";
import { onnx } from "onnx-proto";
import { readConfig } from "../../src/checkpoint/config.ts";
import { openCheckpoint } from "../../src/checkpoint/safetensors.ts";
import { StepMemory, StepOperands } from "../../src/engine/step-operands.ts";
import { buildGraph } from "../../src/graph/graph.ts";
import { readVectors } from "../../src/graph/weight-file.ts";
import { geometry } from "../../src/kv/geometry.ts";
import { modelDir } from "../engine/models.ts";

const dir = modelDir("kakeya-tiny");
const config = readConfig(dir);

test.each(["f32", "q8"] as const)("a step's tensors have the shapes that the graph declares, cache %s", (kv) => {
  const checkpoint = openCheckpoint(dir);
  const { model } = buildGraph(config, "f32", (names) => readVectors(checkpoint, names), kv);
  checkpoint.close();
  const declared = shapesOf(onnx.ModelProto.decode(model));
  const slab = geometry(4, 64);
  const group = config.heads / config.kvHeads;
  const sizes = new Map(Object.entries({ n: 2, T: 3, nT: 6, gT: group * 3, rows: slab.rows }));

  const { feeds, fetches } = new StepOperands(config, slab, new StepMemory(config, slab, kv, 32), 2, 3);
  for (const [name, { dims }] of Object.entries({ ...feeds, ...fetches })) {
    const shape = (declared.get(name) ?? []).map((size) => sizes.get(`${size}`) ?? size);
    expect([name, ...dims]).toEqual([name, ...shape]);
  }
  const fed = [...declared.keys()].filter((name) => !(name in feeds || name in fetches));
  const cache = Array.from({ length: config.layers }, (_, layer) =>
    ["k.ring", "k.current", "v.ring", "v.current"]
      .map((part) => `${part}.${layer}`)
      .flatMap((name) => (kv === "q8" ? [name, `${name}.scales`] : [name])),
  );
  expect(fed.sort()).toEqual([...cache.flat(), "best", "last", "lm_head.out"].sort());
});

function shapesOf({ graph }: onnx.ModelProto): Map<string, (number | string)[]> {
  return new Map(
    [...(graph?.input ?? []), ...(graph?.output ?? [])].map(({ name, type }) => [
      name ?? "",
      (type?.tensorType?.shape?.dim ?? []).map(({ dimParam, dimValue }) => dimParam || Number(dimValue)),
    ]),
  );
}
