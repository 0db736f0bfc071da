import { blockStart, type Geometry } from "../kv/geometry.ts";
import type { Backend, Ran, Run, Wanted } from "./backend.ts";
import type { CpuBackend } from "./cpu-backend.ts";
import type { CpuSequence } from "./cpu-sequence.ts";
import type { EngineFacts, SavedSequence, SequenceState } from "./engine.ts";
import type { GpuRings } from "./gpu-rings.ts";

/**
 * Sequences whose rings lie on a GPU, which runs the steps. All else of them is in this process's memory: the current
 * block, the last logits, the counts.
 */
export class GpuBackend implements Backend<CpuSequence> {
  constructor(
    private readonly here: CpuBackend,
    private readonly rings: GpuRings,
  ) {}

  get geometry(): Geometry {
    return this.here.geometry;
  }

  get facts(): EngineFacts {
    return this.here.facts;
  }

  get vocabSize(): number {
    return this.here.vocabSize;
  }

  get capacity(): number {
    return this.here.capacity;
  }

  get mostRows(): number {
    return this.here.mostRows;
  }

  rowsOf(n: number, tokens: number): number {
    return this.here.rowsOf(n, tokens);
  }

  create(): CpuSequence {
    return this.here.create();
  }

  free(sequence: CpuSequence): void {
    this.here.free(sequence);
  }

  async run(batch: readonly Run<CpuSequence>[], wanted: Wanted): Promise<Ran> {
    const ran = await this.here.run(batch, wanted);
    return {
      logits: (i, t) => ran.logits(i, t),
      best: (i, t) => ran.best(i, t),
      commit: async (i, count) => {
        await ran.commit(i, count);
        const sequence = batch[i]?.sequence;
        if (sequence && sequence.position === blockStart(this.geometry, sequence.position))
          await this.recount(sequence);
      },
    };
  }

  /** Counts the rows where they lie. */
  async recount(sequence: CpuSequence): Promise<SequenceState> {
    await this.rings.settle(sequence.place);
    return this.here.recount(sequence);
  }

  save(sequence: CpuSequence): Promise<SavedSequence> {
    return this.rings.reading(sequence.place, () => this.here.save(sequence));
  }

  async load(saved: SavedSequence): Promise<CpuSequence> {
    const sequence = this.here.load(saved);
    try {
      await this.recount(sequence);
    } catch (error) {
      this.free(sequence);
      throw error;
    }
    return sequence;
  }

  async corrupt(sequence: CpuSequence): Promise<void> {
    this.here.corrupt(sequence);
    await this.rings.settle(sequence.place);
  }

  async close(): Promise<void> {
    await this.here.close();
    await this.rings.close();
  }
}
