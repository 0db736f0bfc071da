import { block, type Geometry } from "../kv/geometry.ts";
import { Places } from "../kv/places.ts";
import type { SlabMemory } from "../kv/slab-memory.ts";
import type { Backend, Ran, Run, Wanted } from "./backend.ts";
import { CpuSequence } from "./cpu-sequence.ts";
import type { Decoder } from "./decoder.ts";
import { type EngineFacts, ForeignSequence, type SavedSequence, type SequenceState } from "./engine.ts";
import { instructionSets } from "./instruction-sets.ts";
import { stepSize } from "./row-rule.ts";

/** What the bits depend on besides the model and the cache. */
type ComputedOn = Pick<EngineFacts, "device" | "instructions">;

/** The version of a saved sequence's body. */
const savedFormat = 1;

const processor: ComputedOn = { device: "cpu", instructions: instructionSets() };

/** Sequences in this process's memory, run by ONNX Runtime on the CPU. */
export class CpuBackend implements Backend<CpuSequence> {
  readonly #places: Places<CpuSequence>;
  /** Room [vocab] for the last logits of each sequence that does not exist yet. */
  readonly #freeLogits: Float32Array[];

  constructor(
    private readonly memory: SlabMemory,
    private readonly decoder: Decoder,
    readonly vocabSize: number,
    private readonly fingerprint: string,
    private readonly computedOn: ComputedOn = processor,
  ) {
    this.#places = new Places(memory.capacity);
    this.#freeLogits = Array.from({ length: memory.capacity }, () => new Float32Array(vocabSize));
  }

  get geometry(): Geometry {
    return this.memory.geometry;
  }

  get capacity(): number {
    return this.memory.capacity;
  }

  create(): CpuSequence {
    return this.#places.take((place) => {
      const logits = this.#freeLogits.pop() ?? new Float32Array(this.vocabSize);
      return new CpuSequence(this.memory, place, logits);
    });
  }

  free(sequence: CpuSequence): void {
    this.#places.release(sequence);
    this.#freeLogits.push(sequence.logits);
  }

  get mostRows(): number {
    return this.decoder.mostRows;
  }

  rowsOf(n: number, tokens: number): number {
    const size = stepSize(n, tokens, this.capacity, this.decoder.rowMultiple);
    return size.n * size.tokens;
  }

  async run(batch: readonly Run<CpuSequence>[], wanted: Wanted): Promise<Ran> {
    const ordered = this.#places.gather(
      batch.map(({ sequence }) => sequence),
      (a, b) => this.memory.swap(a, b),
    );
    const first = ordered[0]?.place ?? 0;
    const byPlace = batch.toSorted((a, b) => a.sequence.place - b.sequence.place);
    for (const sequence of ordered) sequence.prepare();
    const chunks = byPlace.map(({ sequence, tokenIds }) => ({ position: sequence.position, tokenIds }));
    const step = await this.decoder.step(first, chunks, wanted);
    const indexOf = (i: number) => (batch[i]?.sequence.place ?? 0) - first;
    return {
      logits: (i, t) => step.logits(indexOf(i), t),
      best: (i, t) => step.best(indexOf(i), t),
      commit: (i, count) => {
        const index = indexOf(i);
        const run = byPlace[index];
        const known = wanted === "all" || (wanted === "last" && count === run?.tokenIds.length);
        const outcome = known
          ? { best: step.best(index, count - 1), logits: step.logits(index, count - 1) }
          : undefined;
        run?.sequence.commit({ ...step.rows(index), count }, outcome);
      },
    };
  }

  recount(sequence: CpuSequence): SequenceState {
    return sequence.recount();
  }

  save(sequence: CpuSequence): SavedSequence {
    const { facts, body } = sequence.save();
    return { facts: { ...this.facts, ...facts }, body };
  }

  load({ facts, body }: SavedSequence): CpuSequence {
    const strange = Object.entries(this.facts).find(([name, value]) => Reflect.get(facts, name) !== value);
    if (strange !== undefined) {
      const [name, value] = strange;
      throw new ForeignSequence(
        `the saved sequence has ${name} ${Reflect.get(facts, name)}, and this engine ${name} ${value}: it would continue with other bits`,
      );
    }
    const sequence = this.create();
    try {
      sequence.load(facts, body);
    } catch (error) {
      this.free(sequence);
      throw error;
    }
    return sequence;
  }

  corrupt(sequence: CpuSequence): void {
    sequence.corrupt();
  }

  async close(): Promise<void> {
    await this.decoder.close();
  }

  get facts(): EngineFacts {
    const { sink, window } = this.geometry;
    const { rowMultiple } = this.decoder;
    const { fingerprint } = this;
    const kv = this.memory.shape.numbers === "int8" ? "q8" : "f32";
    // What differs most tellingly comes first: the first difference is named when a sequence is refused.
    return { format: savedFormat, ...this.computedOn, fingerprint, kv, rowMultiple, sink, window, block };
  }
}
