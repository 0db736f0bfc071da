import type { SlabMemory } from "../kv/slab.ts";
import type { Chunk, NewRows } from "./step-operands.ts";

/** What runs the graph: the decoder. */
interface Steps {
  step(first: number, chunks: Chunk[], wantLogits: boolean): Promise<{ rows: NewRows }>;
  logitsOf(place: number): Float32Array;
}

/**
 * Runs a few tokens on the real weights, whole and cut in pieces and in a batch, and compares the bits of the logits:
 * INV-3 holds or falls with the kernels that ONNX Runtime chooses on this processor. Uses the slabs' first places.
 */
export async function givesSameBits(decoder: Steps, memory: SlabMemory): Promise<boolean> {
  const whole = await bitsAfter(decoder, memory, [9], 1);
  const cut = await bitsAfter(decoder, memory, [1, 7, 1], Math.min(2, memory.capacity));
  return whole.every((bits, i) => bits === cut[i]);
}

/** The last logits' bits after nine tokens in chunks of `lengths`, of which the last runs in a batch of `batch` slabs. */
async function bitsAfter(decoder: Steps, memory: SlabMemory, lengths: number[], batch: number): Promise<Uint32Array> {
  const vocabSize = decoder.logitsOf(0).length;
  const tokenIds = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((id) => id % vocabSize);
  for (let place = 1; place < batch; place++) memory.create(place);
  const slab = memory.create(0);
  slab.position = memory.geometry.sink; // where a block begins
  let done = 0;
  for (const count of lengths) {
    const chunk = { position: slab.position, tokenIds: tokenIds.slice(done, done + count) };
    done += count;
    const n = done === tokenIds.length ? batch : 1;
    const { rows } = await decoder.step(0, new Array(n).fill(chunk), true);
    memory.commit(slab, 0, { ...rows, index: 0, count });
  }
  return new Uint32Array(decoder.logitsOf(0).slice().buffer);
}
