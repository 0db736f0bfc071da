import type { ModelConfig } from "../src/checkpoint/config.ts";
import { namedTensors } from "../src/engine/step-operands.ts";
import {
  attentionRows,
  cacheInputs,
  elementsOf,
  type GraphValue,
  headValues,
  newRows,
  tokenInputs,
} from "../src/graph/signature.ts";
import { block, geometry } from "../src/kv/geometry.ts";
import type { Tensor } from "../src/ort/index.ts";

const sink = 4;

/** What a step of n sessions with `tokens` tokens each reads and writes, over a full window of floats; made-up numbers. */
export function stepTensors(
  config: ModelConfig,
  window: number,
  n: number,
  tokens: number,
  wantedRows: number,
): { feeds: Record<string, Tensor>; fetches: Record<string, Tensor> } {
  const { ringRows, rows } = geometry(sink, window);
  const gT = attentionRows(config).perToken * tokens;
  const sizes = { n, T: tokens, nT: n * tokens, gT, ringRows, block, rows, k: wantedRows };
  const inputs = tokenInputs(config, sizes);
  const head = headValues(config, sizes);
  const parts = (["k", "v"] as const).flatMap((part) =>
    Array.from({ length: config.layers }, (_, layer) => ({
      cache: cacheInputs(config, part, layer, sizes, "f32"),
      fresh: newRows(config, part, layer, sizes, "f32"),
    })),
  );
  const filled = (value: GraphValue<number>) => {
    const data = new Float32Array(elementsOf(value));
    for (let i = 0; i < data.length; i++) data[i] = Math.sin(i);
    return [value, data] as const;
  };
  const integers = (value: GraphValue<number>, at: (i: number) => number) =>
    [value, BigInt64Array.from({ length: elementsOf(value) }, (_, i) => BigInt(at(i)))] as const;
  const slot = (i: number) => {
    const token = Math.floor(i / 3);
    const head = Math.floor(token / tokens);
    return [Math.floor(head / config.kvHeads), head % config.kvHeads, token % tokens][i % 3] ?? 0;
  };
  const feeds = namedTensors([
    filled(inputs.x),
    filled(inputs.cos),
    filled(inputs.sin),
    [inputs.mask, new Float32Array(elementsOf(inputs.mask))],
    integers(inputs.ropeRows, (row) => row),
    integers(inputs.slots, slot),
    integers(inputs.parts, (i) => (i === 0 ? ringRows : block)),
    integers(head.last, () => n * tokens - 1),
    ...parts.flatMap(({ cache }) => [filled(cache.ring), filled(cache.current)]),
  ]);
  const fetches = namedTensors([
    ...parts.map(({ fresh }) => filled(fresh.rows)),
    ...(wantedRows > 0 ? [filled(head.logits), integers(head.best, () => 0)] : []),
  ]);
  return { feeds, fetches };
}
