/**
 * INV-3: the logits of a token are the same bits however its history came about. The reference runs one token at a
 * time, alone; every plan runs the same history cut at random, partly appended and partly generated, in steps shared
 * with other plans that are somewhere else in it.
 */
import { afterAll, describe, expect, test } from "bun:test";
import { testSeed } from "../seed.ts";
import { seededRandom } from "../seeded-random.ts";
import { generateIds } from "./generating.ts";
import { loadCore, quantizations } from "./models.ts";

const plans = Number(process.env.KAKEYA_EXACTNESS_PLANS ?? 100);
const tokens = 620;
const together = 4;

describe.each(["kakeya-tiny", "llama3-rope", "multi-head"])("%s", (model) => {
  describe.each(quantizations)("in %s", (quantization) => {
    // A window that is no multiple of the block, so that the ring has rows to spare; it wraps many times.
    const window = model === "kakeya-tiny" ? 64 : 45;
    const loaded = loadCore(model, { quantization, window, capacity: together + 1 });
    afterAll(async () => (await loaded).close());

    test(`${plans} random plans give the bits of one token at a time (seed ${testSeed})`, async () => {
      const core = await loaded;
      const { info } = core;
      expect(info.exact).toBe(true);
      const random = seededRandom(testSeed);
      const hash = (sequence: number) => Bun.hash(core.logits(sequence));

      // The history: random spans, and spans in which the model continues itself.
      const reference = await core.create();
      const history: number[] = [];
      const generated: boolean[] = [];
      const logits: (number | bigint)[] = [];
      while (history.length < tokens) {
        const generate = history.length > 0 && random() < 0.5;
        for (let left = 1 + Math.floor(random() * 40); left > 0; left--) {
          if (generate) history.push(...(await generateIds(core, reference, 1)).ids);
          else {
            const token = Math.floor(random() * info.vocabSize);
            await core.append(reference, Uint32Array.of(token));
            history.push(token);
          }
          generated.push(generate);
          logits.push(hash(reference));
        }
      }
      expect((await core.state(reference)).computedTokens).toBe(history.length);

      const running: { sequence: number; done: number; plan: number }[] = [];
      let started = 0;
      while (started < plans || running.length > 0) {
        while (running.length < together && started < plans) {
          running.push({ sequence: await core.create(), done: 0, plan: started++ });
        }
        const decoding = running.filter((run) => generated[run.done] && random() < 0.7);
        if (decoding.length > 0) {
          const generated = await Promise.all(decoding.map(({ sequence }) => generateIds(core, sequence, 1)));
          decoding.forEach((run, i) => {
            if (generated[i]?.ids[0] !== history[run.done])
              throw new Error(`plan ${run.plan}: another id at ${run.done}`);
            run.done++;
          });
        } else {
          const run = running[Math.floor(random() * running.length)];
          if (!run) throw new Error("no plan is running");
          const longest = random() < 0.2 ? 300 : 40;
          const length = Math.min(1 + Math.floor(random() * longest), history.length - run.done);
          await core.append(run.sequence, Uint32Array.from(history.slice(run.done, run.done + length)));
          run.done += length;
        }
        for (const run of [...running]) {
          if (hash(run.sequence) !== logits[run.done - 1] && run.done > 0) {
            throw new Error(`plan ${run.plan}: other bits at position ${run.done - 1} (seed ${testSeed})`);
          }
          if (run.done < history.length) continue;
          expect(await core.state(run.sequence)).toEqual(await core.state(reference));
          await core.free(run.sequence);
          running.splice(running.indexOf(run), 1);
        }
      }
      expect(started).toBe(plans);
    }, 600_000);
  });
});

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
