/** What a session on a GPU is, besides its bits: its rows counted where they lie, saved, refused elsewhere, freed. */
import { afterAll, describe, expect, test } from "bun:test";
import { ForeignSequence } from "../../src/engine/engine.ts";
import { generateIds } from "../engine/generating.ts";
import { loadCore } from "../engine/models.ts";
import { rejection } from "../rejection.ts";
import { asked, onGpu } from "./device.ts";

const model = "qwen3-tied";
const geometry = { sink: 4, window: 40 };
const some = (count: number, from = 0) => Uint32Array.from({ length: count }, (_, i) => ((from + i) * 37) % 320);

describe.skipIf(!asked)(onGpu, () => {
  const loaded = asked ? loadCore(model, { ...geometry, device: "gpu", capacity: 3 }) : undefined;
  const gpu = () => loaded ?? Promise.reject(new Error("no GPU was asked for"));
  afterAll(async () => (await loaded)?.close());

  test("rows are counted on the device: as many as the history, then as the sinks and the window hold", async () => {
    const core = await gpu();
    const sequence = await core.create();
    let done = 0;
    for (const count of [1, 3, 20, 12, 7, 32, 32, 5]) {
      const state = await core.append(sequence, some(count, done));
      done += count;
      const rows = Math.min(done, 44);
      expect(state).toMatchObject({ position: done, minRows: rows, maxRows: rows, computedTokens: done });
      expect(await core.state(sequence)).toEqual(state);
    }
    await core.free(sequence);
  });

  test("a row that is damaged on the device shows in the counts, in the block and in the ring", async () => {
    const core = await gpu();
    for (const count of [10, 36]) {
      const sequence = await core.create();
      await core.append(sequence, some(count));
      await core.corrupt(sequence);
      expect(await core.state(sequence)).toMatchObject({ minRows: count - 1, maxRows: count });
      await core.free(sequence);
    }
  });

  test("what is saved at any moment goes on with the same bits, beside another and at another place", async () => {
    const core = await gpu();
    for (const count of [3, 30, 75]) {
      const original = await core.create();
      await core.append(original, some(count));
      const saved = await core.save(original);
      const other = await core.load(structuredClone(saved));
      expect(await core.save(other)).toEqual(saved);
      const runs = await Promise.all([generateIds(core, original, 8), generateIds(core, other, 8)]);
      expect(runs[0].ids).toEqual(runs[1].ids);
      await Promise.all([core.append(original, some(40)), core.append(other, some(40))]);
      expect(Bun.hash(core.logits(other))).toBe(Bun.hash(core.logits(original)));
      expect(await core.save(other)).toEqual(await core.save(original));
      await core.free(original);
      await core.free(other);
    }
  });

  test("what a GPU computed is refused by the processor, and the other way round, by the device's name", async () => {
    const core = await gpu();
    const onProcessor = await loadCore(model, geometry);
    const saved = await Promise.all(
      [core, onProcessor].map(async (engine) => {
        const sequence = await engine.create();
        await engine.append(sequence, some(10));
        const body = await engine.save(sequence);
        await engine.free(sequence);
        return body;
      }),
    );
    for (const [engine, from, here] of [
      [onProcessor, 0, "has device gpu, and this engine device cpu"],
      [core, 1, "has device cpu, and this engine device gpu"],
    ] as const) {
      const foreign = saved[from];
      if (!foreign) throw new Error("both engines save");
      const error = await rejection(engine.load(structuredClone(foreign)));
      expect(error).toBeInstanceOf(ForeignSequence);
      expect(error.message).toContain(here);
    }
    await onProcessor.close();
  });

  test("a place is empty for its next sequence, and a full engine refuses another", async () => {
    const core = await gpu();
    const first = await core.create();
    await core.append(first, some(70));
    const expected = (await generateIds(core, first, 4)).ids;
    await core.free(first);
    const all = [await core.create(), await core.create(), await core.create()];
    expect((await rejection(core.create())).message).toContain("all 3 places are in use");
    for (const sequence of all) {
      expect((await core.append(sequence, some(70))).minRows).toBe(44);
      expect((await generateIds(core, sequence, 4)).ids).toEqual(expected);
    }
    for (const sequence of all) await core.free(sequence);
  });
});
