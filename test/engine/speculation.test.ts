import { expect, test } from "bun:test";
import { Drafter } from "../../src/engine/drafts/drafter.ts";
import { loadCore } from "./models.ts";

test("a sequence that is freed leaves its drafter to the next one", async () => {
  const made: Drafter[] = [];
  const core = await loadCore("qwen3-tied", {
    capacity: 3,
    newGuesser: () => {
      const drafter = new Drafter();
      made.push(drafter);
      return drafter;
    },
  });
  for (let time = 0; time < 4; time++) {
    const sequences = await Promise.all([core.create(), core.create()]);
    for (const sequence of sequences) {
      await core.append(sequence, Uint32Array.of(7, 8, 9));
      await core.append(sequence, Uint32Array.of(7, 8));
    }
    expect(made.map((drafter) => drafter.draft(1))).toEqual([[9], [9]]);
    for (const sequence of sequences) await core.free(sequence);
    expect(made.map((drafter) => drafter.draft(1))).toEqual([[], []]);
  }
  await core.close();
});
