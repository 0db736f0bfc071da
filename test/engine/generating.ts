import { type Engine, greedy, type Sampling, type SequenceId, type Step } from "../../src/engine/engine.ts";

/** Generates `count` ids in one go, with what the last step said. */
export async function generateIds(
  engine: Pick<Engine, "generate">,
  sequence: SequenceId,
  count: number,
  sampling: Sampling = greedy,
): Promise<{ ids: number[]; last: Step | undefined }> {
  const ids: number[] = [];
  let last: Step | undefined;
  const generation = engine.generate(sequence, { sampling, maxTokens: count, eosTokenIds: [] }, (step) => {
    ids.push(...step.tokenIds);
    last = step;
  });
  generation.allow(count);
  await generation.ended;
  return { ids, last };
}
